"""Checkpoints: what is written is read back equal, bits in the manifest are the file's bytes, damage is refused."""

import numpy as np
import pytest
import torch

from hw.errors import InputError
from quant.weights.checkpoint import Checkpoint, write_checkpoint
from quant.weights.side_data import LowRank
from quant.weights.solution import LinearSolution


def solution(n=6, k=20, group=8, planes=1, seed=0, permuted=False, rank=0):
    generator = torch.Generator().manual_seed(seed)
    groups = -(-k // group)
    return LinearSolution(
        trits=torch.randint(-1, 2, (planes, n, k), generator=generator).to(torch.int8),
        scales=torch.rand(planes, n, groups, generator=generator).half(),
        group=group,
        scale_kind="group",
        permutation=torch.randperm(k, generator=generator) if permuted else None,
        low_rank=LowRank(
            torch.randn(n, rank, generator=generator).half(), torch.randn(rank, k, generator=generator).half()
        )
        if rank
        else None,
    )


@pytest.fixture
def stored(tmp_path):
    solutions = {
        (0, "q_proj"): solution(),
        (0, "k_proj"): solution(planes=2, seed=1, permuted=True),
        (0, "v_proj"): solution(seed=2, permuted=True, rank=3),
    }
    path = tmp_path / "ternary.safetensors"
    write_checkpoint(path, solutions, {"norm": np.arange(4.0)})
    return path, solutions


def test_integers_and_scales_come_back_without_torch_types(stored):
    path, solutions = stored
    checkpoint = Checkpoint(path)
    assert list(checkpoint) == list(solutions)
    for (layer, kind), original in solutions.items():
        linear = checkpoint.linear(layer, kind)
        assert np.array_equal(linear.trits, original.trits.numpy())
        assert np.array_equal(linear.scales, original.scales.float().numpy())
        assert linear.group == 8
    assert checkpoint.norms()["norm"].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_stored_columns_times_reordered_activations_equal_the_dense_product(stored):
    path, solutions = stored
    linear = Checkpoint(path).linear(0, "k_proj")
    x = np.random.default_rng(0).normal(size=(3, 20)).astype(np.float32)
    group_of = np.arange(20) // linear.group
    stored_order = (linear.scales[:, :, group_of] * linear.trits).sum(axis=0)
    expected = x @ solutions[0, "k_proj"].dense().numpy().T
    assert np.allclose(linear.columns(x) @ stored_order.T, expected, atol=1e-5)


def test_planes_and_correction_together_equal_the_dense_product(stored):
    path, solutions = stored
    linear = Checkpoint(path).linear(0, "v_proj")
    q = np.random.default_rng(0).integers(-127, 128, (3, 20)).astype(np.int8)
    group_of = np.arange(20) // linear.group
    planes = linear.columns(q) @ (linear.scales[:, :, group_of] * linear.trits).sum(axis=0).T
    expected = q @ solutions[0, "v_proj"].dense().numpy().T
    assert np.allclose(planes + linear.correction(q), expected, rtol=1e-5, atol=1e-3)
    assert not np.allclose(planes, expected, atol=1)
    assert Checkpoint(path).linear(0, "q_proj").correction(q) is None


def test_entries_tell_the_rank_of_each_linear(stored):
    assert [entry.rank for entry in Checkpoint(stored[0]).entries()] == [0, 0, 3]


def test_bits_of_the_entries_are_the_bytes_of_the_tensors(stored):
    path, solutions = stored
    entries = Checkpoint(path).entries()
    assert [entry.bits for entry in entries] == [s.bits().total for s in solutions.values()]
    header_bytes = int.from_bytes(path.read_bytes()[:8], "little")
    norm_bytes = 4 * 4
    assert sum(e.bits for e in entries) == 8 * (path.stat().st_size - 8 - header_bytes - norm_bytes)


def test_equal_solutions_give_equal_bytes(stored, tmp_path):
    path, solutions = stored
    again = tmp_path / "again.safetensors"
    write_checkpoint(again, solutions, {"norm": np.arange(4.0)})
    assert again.read_bytes() == path.read_bytes()


def test_truncated_and_missing_files_are_refused(stored, tmp_path):
    path, _ = stored
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(InputError, match="whole ternary checkpoint"):
        Checkpoint(path)
    with pytest.raises(InputError, match="no such file"):
        Checkpoint(tmp_path / "absent.safetensors")


def test_unknown_linear_is_named(stored):
    with pytest.raises(InputError, match="no linear 'v_proj' of layer 3"):
        Checkpoint(stored[0]).linear(3, "v_proj")
