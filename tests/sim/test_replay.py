"""Replay of a recording: equal to sums computed by torch, refused for other weights, loud when a bit differs."""

import json
import math

import numpy as np
import pytest

from hw.artifact import sha256_file
from hw.config import ArrayConfig, sized
from hw.errors import InputError
from quant.recording import LinearRecord, OperandStatistics, Recording, input_name, sums_digest, write_recording
from quant.weights.checkpoint import Checkpoint, write_checkpoint
from sim.__main__ import main
from sim.replay import (
    LinearReplay,
    Skipping,
    Toggles,
    linear_sums,
    mean_skipping,
    measure_skipping,
    measure_toggles,
    recording_origin,
    replay,
    replay_statistics,
)

torch = pytest.importorskip("torch")

TOKENS, N, K, GROUP = 6, 7, 20, 8


@pytest.fixture
def recorded(tmp_path):
    """A permuted two-plane linear: its checkpoint, and the recording of a pass computed by torch in int64."""
    from quant.weights.solution import LinearSolution

    generator = torch.Generator().manual_seed(3)
    solution = LinearSolution(
        trits=torch.randint(-1, 2, (2, N, K), generator=generator).to(torch.int8),
        scales=torch.rand(2, N, 3, generator=generator).half(),
        group=GROUP,
        scale_kind="group",
        permutation=torch.randperm(K, generator=generator),
    )
    path = tmp_path / "ternary.safetensors"
    write_checkpoint(path, {(0, "up_proj"): solution})
    q = torch.randint(-127, 128, (TOKENS, K), generator=generator)
    columns = q[:, solution.permutation]
    parts = [
        torch.einsum("mk,pnk->pmn", columns[:, a : a + GROUP], solution.trits[:, :, a : a + GROUP].long())
        for a in range(0, K, GROUP)
    ]
    unknown = OperandStatistics(toggle_rate=0, input_toggle_rate=0)
    record = LinearRecord(
        layer=0,
        kind="up_proj",
        input=input_name(0, "up_proj"),
        n=N,
        k=K,
        planes=2,
        group=GROUP,
        sums_sha256=sums_digest(torch.stack(parts, -1).numpy()),
        zero_fraction=0.0,
        prefill=unknown,
        decode=unknown,
    )
    inputs = {record.input: (q.to(torch.int8).numpy(), np.ones(TOKENS, np.float32))}
    recording = Recording("tiny", "made up", "noise", sha256_file(path), [record], inputs)
    write_recording(tmp_path, recording)
    return recording, Checkpoint(path), solution


def test_replay_equals_the_sums_of_torch_and_measures_the_trits(recorded):
    recording, checkpoint, solution = recorded
    (result,) = replay(recording, checkpoint, sized(3, 4))
    assert result.zero_fraction == pytest.approx((solution.trits == 0).double().mean().item())
    statistics = replay_statistics([result], "a test")["decode"]["up_proj"]
    assert statistics.measured
    assert statistics.toggle_rate == result.decode.selected > 0


def test_one_wrong_activation_is_noticed(recorded):
    recording, checkpoint, _ = recorded
    recording.inputs["layers.0.mlp_in"][0][2, 5] ^= 1
    with pytest.raises(RuntimeError, match="up_proj of layer 0"):
        list(replay(recording, checkpoint, sized(3, 4)))


def test_a_recording_of_other_weights_is_refused(recorded):
    recording, checkpoint, _ = recorded
    with pytest.raises(InputError, match="must be the checkpoint that was recorded"):
        list(replay(recording._replace(weights_sha256="0" * 64), checkpoint, sized(3, 4)))


def test_command_line_prints_the_measured_statistics(recorded, tmp_path, capsys):
    main(["replay", str(tmp_path), "--array", "3x4", "--json"])
    statistics = json.loads(capsys.readouterr().out)
    assert statistics["prefill"]["up_proj"]["measured"]
    assert statistics["prefill"]["up_proj"]["origin"] == "replay of 6 recorded tokens of noise (made up) on 3x4"


def one_replay(layer, kind, weights, zeros, number):
    """Figures that no two replays share."""
    prefill, decode = (Toggles(number + at, number + at + 0.1, number + at + 0.2) for at in (0.01, 0.02))
    return LinearReplay(layer, kind, weights, zeros, prefill, decode, Skipping(number / 10, number / 20))


def test_statistics_are_means_over_layers_weighted_by_trits():
    """q_proj of 100 and 300 trits: a quarter of the first and three quarters of the second."""
    replays = [
        one_replay(0, "q_proj", 100, 0.2, 1), one_replay(0, "up_proj", 50, 0.9, 7), one_replay(1, "q_proj", 300, 0.6, 5)
    ]  # fmt: skip
    found = replay_statistics(iter(replays), "here")
    assert {phase: set(kinds) for phase, kinds in found.items()} == {
        "prefill": {"q_proj", "up_proj"}, "decode": {"q_proj", "up_proj"}
    }  # fmt: skip
    for phase, at in (("prefill", 0.01), ("decode", 0.02)):
        one = found[phase]["q_proj"]
        assert one.zero_fraction == pytest.approx(0.25 * 0.2 + 0.75 * 0.6)
        assert one.toggle_rate == pytest.approx(4 + at)
        assert one.input_toggle_rate == pytest.approx(4.1 + at)
        assert one.steady_operands == pytest.approx(4.2 + at)
        assert (one.measured, one.origin) == (True, "here")
        assert found[phase]["up_proj"].toggle_rate == pytest.approx(7 + at)
    skipping = mean_skipping(iter(replays))
    expected = (100 * 1 + 50 * 7 + 300 * 5) / 450
    assert skipping == (pytest.approx(expected / 10), pytest.approx(expected / 20))
    assert skipping.speed_bound == pytest.approx(10 / expected)
    assert Skipping(0.0, 1.0).speed_bound == math.inf


@pytest.mark.parametrize("organisation", ["tree", "systolic"])
def test_a_replay_walks_all_tokens_in_prefill_and_the_first_two_alone_in_decode(recorded, organisation):
    """On a grid tokens pass side by side, so that two stand for all."""
    recording, checkpoint, solution = recorded
    array = sized(3, 4).reorganised(organisation)
    (result,) = replay(recording, checkpoint, array)
    q = recording.inputs["layers.0.mlp_in"][0][:, solution.permutation.numpy()]
    trits = solution.trits.numpy()
    walked = q if organisation == "tree" else q[:2]
    assert result.prefill == measure_toggles(np.ascontiguousarray(walked), trits, array)
    alone = [measure_toggles(np.ascontiguousarray(q[token : token + 1]), trits, array) for token in (0, 1)]
    assert result.decode == pytest.approx([sum(pair) / 2 for pair in zip(*alone, strict=True)])
    assert (result.weights, result.layer, result.kind) == (2 * N * K, 0, "up_proj")
    assert result.skipping == measure_skipping(trits, array)
    assert recording_origin(recording, array) == f"replay of 6 recorded tokens of noise (made up) on {array.name}"


def test_the_origin_names_the_longest_input(recorded):
    recording, _, _ = recorded
    (inputs,) = recording.inputs.values()
    longer = recording._replace(inputs={"a": inputs, "b": (np.zeros((9, 3), np.int8), np.ones(9, np.float32))})
    assert recording_origin(longer, sized(3, 4)).startswith("replay of 9 recorded tokens")


def test_sums_that_could_overflow_are_refused_by_their_group():
    """12 bits hold 2047 / 127 = 16 products."""
    narrow = ArrayConfig(name="narrow", rows=2, cols=2, accumulator_bits=12)
    q, trits = np.full((1, 20), 127, np.int8), np.ones((1, 1, 20), np.int8)
    assert linear_sums(q, trits, 16, narrow).tolist() == [[[[16 * 127, 4 * 127]]]]
    assert linear_sums(q[:, :16], trits[..., :16], 99, narrow).tolist() == [[[[16 * 127]]]]
    with pytest.raises(InputError, match="replay: K = 17 needs accumulator_bits of at least 13, not 12"):
        linear_sums(q, trits, 17, narrow)
