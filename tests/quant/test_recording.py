"""Recordings: statistics equal a naive walk over lanes and issues, files come back equal, damage is refused."""

from types import SimpleNamespace

import numpy as np
import pytest

from hw.errors import InputError
from hw.golden import group_sums
from quant.recording import (
    LinearRecord,
    OperandStatistics,
    Recording,
    _input,
    decode_statistics,
    input_name,
    prefill_statistics,
    read_recording,
    sums_digest,
    write_recording,
)


def toggles(a: int, b: int) -> int:
    return bin((a ^ b) & 0xFF).count("1")


@pytest.fixture
def operands():
    rng = np.random.default_rng(1)
    return rng.integers(-127, 128, (5, 12), dtype=np.int8), rng.integers(-1, 2, (1, 7, 12), dtype=np.int8)


def test_prefill_statistics_equal_a_naive_walk(operands):
    q, trits = operands
    selected, entered = [], []
    for n in range(7):
        for k in range(12):
            for m in range(1, 5):
                t = int(trits[0, n, k])
                selected.append(toggles(t * int(q[m, k]), t * int(q[m - 1, k])))
                entered.append(toggles(int(q[m, k]), int(q[m - 1, k])))
    measured = prefill_statistics(q, trits)
    assert measured.toggle_rate == pytest.approx(np.mean(selected) / 8)
    assert measured.input_toggle_rate == pytest.approx(np.mean(entered) / 8)


def test_decode_statistics_equal_a_naive_walk(operands):
    q, trits = operands
    rows, selected, entered = 4, [], []
    for m in range(2):
        for n in range(7):
            for lane in range(rows):
                for fold in range(1, 3):
                    new, old = fold * rows + lane, (fold - 1) * rows + lane
                    a, b = int(trits[0, n, new] * q[m, new]), int(trits[0, n, old] * q[m, old])
                    selected.append(toggles(a, b))
                    entered.append(toggles(int(q[m, new]), int(q[m, old])))
    measured = decode_statistics(q, trits, rows=rows, tokens=2)
    assert measured.toggle_rate == pytest.approx(np.mean(selected) / 8)
    assert measured.input_toggle_rate == pytest.approx(np.mean(entered) / 8)


def test_random_dense_operands_toggle_half_their_bits():
    rng = np.random.default_rng(2)
    q = rng.integers(-128, 128, (400, 64), dtype=np.int16).astype(np.int8)
    measured = prefill_statistics(q, np.ones((1, 4, 64), np.int8))
    assert measured.toggle_rate == pytest.approx(0.5, abs=0.01)


def test_zero_trits_never_toggle(operands):
    q, trits = operands
    assert prefill_statistics(q, np.zeros_like(trits)).toggle_rate == 0
    assert decode_statistics(q, np.zeros_like(trits), rows=4).toggle_rate == 0


def recording(operands):
    q, trits = operands
    sums = group_sums(q, trits[0], 5)[None]
    zeros = OperandStatistics(toggle_rate=0.1, input_toggle_rate=0.2)
    record = LinearRecord(
        layer=0,
        kind="k_proj",
        input=input_name(0, "k_proj"),
        n=7,
        k=12,
        planes=1,
        group=5,
        sums_sha256=sums_digest(sums),
        zero_fraction=0.3,
        prefill=zeros,
        decode=zeros,
    )
    inputs = {record.input: (q, np.ones(5, np.float32))}
    return Recording("tiny", "rtn", "a text", "0" * 64, [record], inputs), sums


def test_recording_comes_back_equal(operands, tmp_path):
    written, sums = recording(operands)
    write_recording(tmp_path, written)
    read = read_recording(tmp_path)
    assert read.linears == written.linears
    assert np.array_equal(read.activations(read.linears[0]), operands[0])
    assert sums_digest(sums) == read.linears[0].sums_sha256


def test_digest_sees_one_changed_sum(operands):
    _, sums = recording(operands)
    changed = sums.copy()
    changed[0, 4, 6, 2] += 1
    assert sums_digest(changed) != sums_digest(sums)


def test_tensors_of_another_recording_are_refused(operands, tmp_path):
    written, _ = recording(operands)
    write_recording(tmp_path, written)
    (tmp_path / "recording.safetensors").write_bytes(b"other")
    with pytest.raises(InputError, match="does not belong"):
        read_recording(tmp_path)


@pytest.mark.parametrize(
    ("q", "scale", "fits"),
    [
        (np.zeros((3, 5), np.int8), np.ones(3), True),
        (np.zeros((3, 5), np.int16), np.ones(3), False),
        (np.zeros((3, 5, 1), np.int8), np.ones(3), False),
        (np.zeros((3, 4), np.int8), np.ones(3), False),
        (np.zeros((3, 7), np.int8), np.ones(3), False),
        (np.zeros((3, 5), np.int8), np.ones(5), False),
        (np.zeros((3, 5), np.int8), np.ones((3, 1)), False),
    ],
)
def test_an_input_is_int8_of_its_linears_width_with_a_scale_per_token(q, scale, fits, tmp_path):
    """A linear of five inputs and seven outputs, each condition alone not met."""
    record = SimpleNamespace(input="x", n=7, k=5)
    if fits:
        found, scales = _input({"x.q": q, "x.s": scale}, record, tmp_path)
        assert found is q
        assert scales is scale
    else:
        with pytest.raises(InputError, match=r"input 'x' must be int8 \(tokens, 5\) with a scale per token, not "):
            _input({"x.q": q, "x.s": scale}, record, tmp_path)


def test_an_input_without_values_or_scales_is_named(tmp_path):
    record = SimpleNamespace(input="x", n=7, k=5)
    for held in ({}, {"x.q": np.zeros((3, 5), np.int8)}, {"x.s": np.ones(3)}):
        with pytest.raises(InputError, match="holds no input 'x'"):
            _input(held, record, tmp_path)


def test_tokens_of_a_recording_are_rows_of_its_inputs(tmp_path):
    inputs = {input_name(0, "q_proj"): (np.ones((3, 8), np.int8), np.ones(3, np.float32))}
    write_recording(
        tmp_path, Recording(model="m", method="rtn", text="t", weights_sha256="0" * 64, inputs=inputs, linears=[])
    )
    assert '"tokens":3' in (tmp_path / "recording.json").read_text().replace(" ", "")
