"""Adds of a rotation at run time, by hand."""

import math

import pytest

from quant.rewrite.online_rotation import online_adds, online_markdown
from quant.shapes import load_shape


def test_adds_of_llama2_7b_by_hand():
    adds, linears = online_adds(load_shape("llama2-7b"))
    assert linears == 32 * (4096 * 4096 + 4096 * 11008)
    assert adds == pytest.approx(32 * (4096 * 12 + 11008 * math.log2(11008)), rel=1e-5)


def test_table_has_both_models_in_millions():
    lines = online_markdown().splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == ["smollm2-135m", "llama2-7b"]
    assert "| 1979.7 M |" in lines[3]
