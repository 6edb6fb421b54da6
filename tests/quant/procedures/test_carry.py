"""Claim: a method of each of the three procedures is one module and one line of the registry."""

import pytest

from hw.errors import InputError
from quant import registry
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import Checkpoint
from tests.quant.tiny import TEXT, work_on

SIGNS = """
import torch
from quant.methods.method import MethodOptions, BlockOptions, ModelOptions
from quant.weights.solution import LinearSolution

def solve(weight, hessian, options):
    scale = weight.abs().mean(1).half()[None, :, None]
    return LinearSolution(torch.sign(weight).to(torch.int8)[None], scale, None, "row")
"""
LAYERWISE = SIGNS + "class Options(MethodOptions):\n    pass\n"
BLOCKWISE = (
    SIGNS
    + """
from typing import NamedTuple

class Options(BlockOptions):
    epochs: int = 3

class Scaled(NamedTuple):
    scale: torch.Tensor
    signs: torch.Tensor
    def dense(self):
        return self.scale * self.signs
    def learned(self, rate):
        return [(self.scale, rate)]
    def solution(self):
        return LinearSolution(self.signs.to(torch.int8)[None], self.scale.detach().half()[None], None, "row")

def learned_weight(weight, hessian, options):
    return Scaled(weight.abs().mean(1, keepdim=True), torch.sign(weight))

del solve
"""
)
MODELWISE = (
    SIGNS
    + """
class Options(ModelOptions):
    epochs: int = 1
    distill_steps: int = 2
    distill_length: int = 16
    generated_windows: int = 0
"""
)
TWO_PLANES = (
    MODELWISE
    + """
one = solve

def solve(*given):
    first = one(*given)
    return LinearSolution(first.trits.repeat(2, 1, 1), first.scales.repeat(2, 1, 1), None, "row")
"""
)


@pytest.fixture
def carried(tiny, tmp_path, monkeypatch):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 6, "words")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(registry, "METHODS", dict(registry.METHODS))

    def run(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        registry.register(name, name)
        stages = []
        written = carry(work_on(tiny, name, windows, tmp_path / "parts", lambda stage, *_: stages.append(stage)))
        return written, stages

    return run


@pytest.mark.parametrize(
    ("name", "text", "stages"),
    [
        ("signs_layerwise", LAYERWISE, {"quantize"}),
        ("signs_blockwise", BLOCKWISE, {"quantize"}),
        ("signs_modelwise", MODELWISE, {"reconstruct", "distill"}),
    ],
)
def test_a_method_of_each_procedure_is_one_module_and_one_line(carried, name, text, stages):
    written, reported = carried(name, text)
    assert set(reported) == stages
    found = [key for part in written.parts for key in Checkpoint(part)]
    assert found == [(layer, kind) for layer in range(2) for kind in LINEAR_KINDS]
    assert bool(written.norms) == (name == "signs_modelwise")


def test_training_refuses_a_start_of_two_planes(carried):
    with pytest.raises(InputError, match=r"q_proj: training must start from one ternary plane .*, not 2 of"):
        carried("two_planes", TWO_PLANES)
