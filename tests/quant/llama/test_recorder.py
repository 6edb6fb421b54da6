"""Recorded passes: planes alone are replayed; scales, offsets and a low-rank correction make the outputs of them."""

import numpy as np
import pytest
import torch

from hw.artifact import sha256_file
from hw.golden import group_sums
from quant.llama.blocks import block_linears, blocks
from quant.llama.recorder import record_pass
from quant.quantizer import apply_checkpoint
from quant.weights.checkpoint import Checkpoint, write_checkpoint
from quant.weights.side_data import LowRank
from quant.weights.solution import LinearSolution
from tests.quant.recorded import assert_sums_are_golden

TOKENS = [3, 1, 4, 1, 5, 9, 2, 6]


def solution(weight, layer):
    """Two planes in groups of 7 with offsets, columns in another order, a correction of rank 2."""
    generator = torch.Generator().manual_seed(layer)
    n, k = weight.shape
    groups = -(-k // 7)
    factors = [torch.randn(shape, generator=generator).mul(0.1).half() for shape in ((n, 2), (2, k))]
    return LinearSolution(
        trits=torch.randint(-1, 2, (2, n, k), generator=generator).to(torch.int8),
        scales=torch.rand(2, n, groups, generator=generator).mul(0.2).half(),
        group=7,
        scale_kind="group",
        offsets=torch.randn(n, groups, generator=generator).mul(0.05).half(),
        permutation=torch.randperm(k, generator=generator),
        low_rank=LowRank(*factors),
    )


@pytest.fixture
def recorded(tiny, tmp_path):
    path = tmp_path / "ternary.safetensors"
    linears = [
        (layer, linear) for layer, block in enumerate(blocks(tiny.model)) for linear in block_linears(block, layer)
    ]
    write_checkpoint(path, {(layer, one.kind): solution(one.module.weight, layer) for layer, one in linears})
    checkpoint = Checkpoint(path)
    apply_checkpoint(tiny, checkpoint)
    return tiny, checkpoint, record_pass(tiny, checkpoint, sha256_file(path), TOKENS, "made up", "numbers")


def test_the_recorded_sums_are_those_of_the_planes(recorded):
    _, checkpoint, recording = recorded
    assert len(recording.linears) == 14
    assert_sums_are_golden(recording, checkpoint)


def test_sums_scales_offsets_and_correction_make_the_outputs_of_the_model(recorded):
    loaded, checkpoint, recording = recorded
    for record in recording.linears:
        linear = checkpoint.linear(record.layer, record.kind)
        activations, s = recording.inputs[record.input]
        q = linear.columns(activations)
        outputs = sum(
            (group_sums(q, *of) * a).sum(-1) for *of, a in zip(linear.trits, [7, 7], linear.scales, strict=True)
        )
        ones = np.ones((1, record.k), np.int8)
        outputs = outputs + (group_sums(q, ones, linear.group) * linear.offsets).sum(-1)
        module = next(
            one.module for one in block_linears(blocks(loaded.model)[record.layer], 0) if one.kind == record.kind
        )
        expected = (torch.from_numpy(activations * s[:, None]) @ module.weight.T).detach().numpy()
        corrected = s[:, None] * (outputs + linear.correction(activations))
        np.testing.assert_allclose(corrected, expected, atol=2e-5 * np.abs(expected).max())
        assert np.abs(s[:, None] * outputs - expected).max() > 0.01 * np.abs(expected).max()
