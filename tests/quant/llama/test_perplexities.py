"""Our perplexity of a tiny model of every family is transformers' own; the page shows the recorded ones."""

import json

import pytest

from quant.llama import blocks
from tests.quant.families import FAMILIES
from tests.quant.perplexities import PAGE, RESULTS, measure, render_page

CLOSE = 1e-5  # float32 sums in another order


@pytest.mark.parametrize("family", FAMILIES)
def test_the_perplexity_is_transformers_own(family, tmp_path):
    found = measure(family, tmp_path / "model")
    assert found.difference < CLOSE
    assert 1 < found.theirs < float("inf")


@pytest.mark.parametrize("family", ["mistral", "gemma2"])
def test_a_forward_pass_without_windows_would_be_seen(family, tmp_path, monkeypatch):
    real = blocks.layer_arguments

    def first_layers(model, block, hidden):  # every layer with what the first one without a window gets
        return real(model, block, hidden) | {"attention_mask": None}

    monkeypatch.setattr("quant.llama.loading.check_function", lambda *_: 0.0)
    monkeypatch.setattr(blocks, "layer_arguments", first_layers)
    assert measure(family, tmp_path / "model").difference > 100 * CLOSE


def test_the_page_shows_what_is_recorded_for_every_family():
    assert PAGE.read_text(encoding="utf-8") == render_page()
    assert list(json.loads(RESULTS.read_text(encoding="utf-8"))) == list(FAMILIES)
