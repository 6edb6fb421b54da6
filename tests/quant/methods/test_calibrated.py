"""Claim: methods published for float activations see those while calibrating, and int8 ones where asked."""

import pytest
import torch

from quant.methods.method import WeightOnlyOptions
from quant.procedures.calibrate import block_hessians, calibration_blocks, token_windows
from quant.procedures.carry import carry
from quant.registry import METHODS, load_method, options_for
from quant.weights.checkpoint import Checkpoint
from tests.quant.tiny import TEXT, work_on


def last_block(tiny, folder, method, **given):
    """Checkpoint of the second block, whose inputs came through a quantized one."""
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 6, "words")
    written = carry(work_on(tiny, method, windows, folder, **given))
    return windows, Checkpoint(written.parts[1])


@pytest.mark.parametrize(("given", "int8"), [({}, False), ({"calibrated": "A16"}, False), ({"calibrated": "A8"}, True)])
def test_both_the_hessian_and_the_prefix_have_the_activations_asked_for(tiny, tmp_path, given, int8):
    originals = [{one.kind: one.module.weight.clone() for one in item.linears} for item in _blocks(tiny, int8)]
    windows, stored = last_block(tiny, tmp_path, "gptq", group=8, **given)
    _, item = calibration_blocks(tiny.model, windows, int8)  # the model now holds the quantized weights
    options = options_for("gptq", {"group": 8})
    for kind in ("q_proj", "k_proj", "v_proj"):  # the inputs of the others come through these, quantized by now
        weight, hessian = originals[1][kind], block_hessians(tiny.model, item, int8)[kind]
        expected = load_method("gptq").solve(weight, hessian, options)
        assert torch.equal(stored.solution(1, kind).dense(), expected.dense())


def test_every_method_published_for_float_activations_says_so():
    methods = {name for name in METHODS if issubclass(load_method(name).Options, WeightOnlyOptions)}
    published = {"gptq", "gptq-2bit", "pb-llm", "pb-llm-qat", "billm", "omniquant", "pt2-llm", "slim-llm", "slim-llm+"}
    assert methods == published | {"ptq1.61", "flexround", "lrq", "wkvquant"}
    assert all(options_for(name, {}).calibrated == "A16" for name in methods)


def _blocks(tiny, int8):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 6, "words")
    return list(calibration_blocks(tiny.model, windows, int8))
