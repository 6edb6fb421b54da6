"""Every lane of the vector unit against ``hw.token``, in Amaranth and in Icarus; latency, multipliers as stated."""

import numpy as np
import pytest
from amaranth.back import rtlil
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.errors import InputError
from hw.gateware.vector.dequantize import DequantizerLane
from hw.gateware.vector.exponential import ExponentialLane
from hw.gateware.vector.hadamard import HadamardTransformer
from hw.gateware.vector.norm import NormLane, SquareLane
from hw.gateware.vector.output import OutputAccumulator, OutputNormalizer, RowMaximum, WeightLane
from hw.gateware.vector.quantize import QuantizerLane
from hw.gateware.vector.rescale import Rescaler
from hw.gateware.vector.residual import ResidualAdder
from hw.gateware.vector.rope import RotaryPair
from hw.gateware.vector.scale import ScaleMultiplier, ScaleOf
from hw.gateware.vector.silu import GluLane
from hw.gateware.vector.table import Argmax, EmbeddingLane
from hw.synthesis.word_level import MULTIPLIERS, word_level_cells
from hw.token.dequantize import Dequantizer, dequantized
from hw.token.formats import Flags, bit_length, rescaled, rounded, saturated, shifted
from hw.token.hadamard import transformed
from hw.token.quantize import quantized
from hw.token.rope import rotated
from hw.token.scales import Scale, StoredScales, constant, multiply, reciprocal, scale_of
from hw.token.silu import gated
from hw.token.softmax import HIDDEN, accumulated, exponentials, normalized_output, scores, weighted
from hw.token.table import Table, greedy, logit_exponents, logits, looked_up
from tests.hw.gateware.vector.bench import icarus, simulated


def spread(rng, bits, count):
    """Signed integers of every size up to ``bits`` bits, both ends and zero among them."""
    sizes = rng.integers(0, bits, count)
    values = rng.integers(-(2**62), 2**62, count) >> (62 - sizes)
    values[: min(3, count)] = [-(1 << bits - 1), (1 << bits - 1) - 1, 0][: min(3, count)]
    return rng.permutation(values)


def flagged(compute, count):
    """Results and flags of ``compute(i, flags)``, one element at a time, so that each has a flag of its own."""
    found, flags = [], []
    for i in range(count):
        raised = Flags()
        found.append(int(compute(i, raised)))
        flags.append(int(raised.saturated > 0))
    return found, flags


def rescale_case(rng, count):
    v, s = spread(rng, 41, count), rng.integers(-8, 60, count)
    result, saturated_ = flagged(lambda i, flags: rescaled(v[i : i + 1], s[i], 24, flags)[0], count)
    return Rescaler(41, 24, 8), {"value": v, "shift": s}, {"result": result, "saturated": saturated_}


def dequantize_case(rng, count, hidden=False):
    sums, man = spread(rng, 24, count), rng.integers(2048, 4096, count)
    man[rng.random(count) < 0.1] = 0
    exp, token_exp = rng.integers(0, 32, count), rng.integers(-40, 10, count)
    token_man = rng.integers(1 << 15, 1 << 16, count)
    first, second = rng.integers(20, 60, count), rng.integers(-40, 60, count)
    visible = rng.random(count) < 0.7

    def one(i, flags):
        at = slice(i, i + 1)
        rows, token = StoredScales(man[at], exp[at], 0), Scale(token_man[at], token_exp[at])
        if hidden:
            shifts = int(first[i]), int(second[i])
            return scores(sums[None, at], rows, token, visible[None, at], *shifts, flags)[0, 0]
        return dequantized(sums[None, at], Dequantizer(rows, first[i], second[i]), token, 32, flags)[0, 0]

    result, saturated_ = flagged(one, count)
    inputs = {
        "sum": sums, "row_mantissa": man, "row_exponent": exp, "token_mantissa": token_man,
        "token_exponent": token_exp, "first": first, "second": second,
    }  # fmt: skip
    inputs |= {"visible": visible.astype(int)} if hidden else {}
    return DequantizerLane(24 if hidden else 32, hidden), inputs, {"result": result, "saturated": saturated_}


def quantize_case(rng, count):
    words, limit = spread(rng, 32, count), int(rng.choice([1, 13, 40, 127, 127 * 128]))
    largest = max(1, int(np.abs(words).max()))
    pre = max(largest.bit_length() - 23, 0)
    k = 0
    while (limit << k) // (largest >> pre) < 1 << 15:
        k += 1
    same = np.full(count, 1)
    inputs = {"word": words, "pre": pre * same, "inverse": (limit << k) // (largest >> pre) * same, "k": k * same}
    return QuantizerLane(), inputs, {"result": quantized(words[None], limit)[0][0].tolist()}


def norm_case(rng, count):
    words, gain = spread(rng, int(rng.integers(1, 33)), count), spread(rng, 16, count)
    h = int(bit_length(np.abs(words).max())) - 15
    y = rounded(shifted(words, np.full(count, h - 8)) * gain, 15)
    return NormLane(), {"word": words, "h": np.full(count, h), "gain": gain}, {"result": y.tolist()}


def square_case(rng, count):
    words = spread(rng, int(rng.integers(1, 33)), count)
    h = int(bit_length(np.abs(words).max())) - 15
    found = shifted(words, np.full(count, h)) ** 2
    return SquareLane(), {"word": words, "h": np.full(count, h)}, {"result": found.tolist()}


def rope_case(rng, count):
    even, odd = spread(rng, 24, count), spread(rng, 24, count)
    angle = rng.uniform(0, 7, count)
    cosine, sine = (np.rint(16384 * f(angle)).astype(int) for f in (np.cos, np.sin))
    x = np.stack([even, odd], 1)[:, None]
    y = rotated(x, np.stack([cosine, sine], 1)[..., None])[:, 0]
    inputs = {"even": even, "odd": odd, "cosine": cosine, "sine": sine}
    return RotaryPair(), inputs, {"even_result": y[:, 0].tolist(), "odd_result": y[:, 1].tolist()}


def exponential_case(rng, count):
    maximum = rng.integers(-(2**15), 2**15, count)
    z = np.maximum((maximum << 8) - np.abs(spread(rng, 14, count)), HIDDEN)
    z[rng.random(count) < 0.2] = HIDDEN
    maximum[:1], z[:1] = -(2**15), HIDDEN  # a row that has seen nothing yet
    p = exponentials(z[:, None], maximum, np.zeros(count, int)).powers[:, 0]
    return ExponentialLane(), {"score": z, "maximum": maximum}, {"result": p.tolist()}


def silu_case(rng, count):
    fraction = int(rng.integers(6, 13))
    gate, up = spread(rng, int(rng.integers(8, 25)), count), spread(rng, 17, count)
    ends = [end + step for end in (-8 << fraction, 8 << fraction) for step in (-1, 0, 1)]  # of the table
    gate[-min(count, 6) :] = ends[: min(count, 6)]
    places = rng.integers(0, 15, count)
    one = lambda i, flags: gated(gate[None, i : i + 1], up[None, i : i + 1], fraction, int(places[i]), flags)[0, 0]  # noqa: E731
    result, saturated_ = flagged(one, count)
    return (
        GluLane(fraction),
        {"gate": gate, "up": up, "up_fraction": places},
        {"result": result, "saturated": saturated_},
    )


def residual_case(rng, count):
    a, b = spread(rng, 32, count), spread(rng, 32, count)
    result, saturated_ = flagged(lambda i, flags: saturated(a[i : i + 1] + b[i : i + 1], 32, flags)[0], count)
    return ResidualAdder(), {"stream": a, "branch": b}, {"result": result, "saturated": saturated_}


def row_maximum_case(rng, count):
    maximum, highest = rng.integers(-(2**15), 2**15, count), spread(rng, 24, count)
    block = exponentials(highest[:, None], maximum, np.zeros(count, int))
    expected = {"result": block.maximum.tolist(), "shift": block.shift.tolist()}
    return RowMaximum(), {"maximum": maximum, "highest": highest}, expected


def weight_case(rng, count):
    power, man = rng.integers(0, 2**15 + 1, count), rng.integers(2048, 4096, count)
    exp, fold = rng.integers(0, 32, count), int(rng.integers(31, 50))
    folds = np.where(rng.random(count) < 0.2, exp, fold)  # now and then nothing is shifted away

    def one(i, flags):
        # QUANT keeps the largest of a row: alone, a weight is its own scale's numerator.
        shift = folds[i] - exp[i]
        return saturated(np.array([(power[i] * man[i]) >> shift]), 24, flags)[0]

    result, raised = flagged(one, count)
    for i in range(0, count, 7):  # the reference's own kernel gives a row of one this weight's scale
        scales = StoredScales(man[i : i + 1], exp[i : i + 1], 0)
        _, scale = weighted(power[None, i : i + 1], scales, int(folds[i]))
        assert scale == multiply(scale_of(np.array([result[i]])), constant(1 / 127))
    inputs = {"power": power, "mantissa": man, "exponent": exp, "fold": folds}
    return WeightLane(), inputs, {"result": result, "saturated": raised}


def accumulate_case(rng, count):
    output, sums, shift = spread(rng, 32, count), spread(rng, 24, count), rng.integers(0, 64, count)
    man, exp, third = rng.integers(2**15, 2**16, count), rng.integers(-30, 3, count), rng.integers(1, 30, count)

    def one(i, flags):
        at = slice(i, i + 1)
        scale = Scale(man[at], exp[at])
        return accumulated(output[at, None], shift[at], sums[at, None], scale, int(third[i]), flags)[0, 0]

    result, raised = flagged(one, count)
    inputs = {"word": output, "shift": shift, "sum": sums, "mantissa": man, "exponent": exp, "third": third}
    return OutputAccumulator(), inputs, {"result": result, "saturated": raised}


def normalize_case(rng, count):
    output, total = spread(rng, 32, count), rng.integers(1, 1 << rng.integers(1, 32, count))
    spare, last = rng.integers(12, 25, count), rng.integers(-40, 10, count)
    inverse = reciprocal(scale_of(total))
    one = lambda i, flags: normalized_output(output[None, i : i + 1], total[i : i + 1], spare[i], last[i], flags)[0, 0]  # noqa: E731
    result, raised = flagged(one, count)
    pre = np.maximum(bit_length(total) - spare, 0)
    inputs = {"word": output, "pre": pre, "mantissa": inverse.mantissa, "exponent": inverse.exponent, "last": last}
    return OutputNormalizer(), inputs, {"result": result, "saturated": raised}


def embedding_case(rng, count):
    d, channel, mean = rng.integers(-121, 122, count), spread(rng, 16, count), spread(rng, 32, count)
    man, exp = rng.integers(2048, 4096, count), rng.integers(0, 32, count)
    first, second = int(rng.integers(30, 45)), int(rng.integers(0, 20))

    def one(i, flags):
        rows = StoredScales(man[i : i + 1], exp[i : i + 1], 0)
        table = Table(d[i : i + 1, None], 5, rows, channel[i : i + 1], mean[i : i + 1], 0, second + first - 16, first)
        return looked_up(np.array([0]), table, flags)[0, 0]

    result, raised = flagged(one, count)
    same = np.full(count, 1)
    inputs = {"digits": d, "mantissa": man, "exponent": exp, "spread": channel, "mean": mean}
    return (
        EmbeddingLane(),
        inputs | {"first": first * same, "second": second * same},
        {"result": result, "saturated": raised},
    )


def argmax_case(rng, count):
    words = 10  # of a small vocabulary, whose second half has the logits of the first
    q, rows = rng.integers(-127 * 128, 127 * 128 + 1, 3), np.tile(rng.integers(-1, 2, (words // 2, 3)), (2, 1))
    scales = StoredScales(*(np.tile(rng.choice(v, words // 2), 2) for v in ([2048, 3000], [19, 25, 31])), 0)
    table = Table(rows.astype(np.float32), 1, scales, np.ones(3, int), np.zeros(3, int), 0, 0, 0)
    found, shifts = logits(q[None], table)[0], logit_exponents(table)[0]
    high = (q + 64) >> 7  # any split will do
    ids = np.arange(count) % words
    best = [int(greedy(found[None, : i + 1])[0]) for i in ids]
    inputs = {
        "high": rows[ids] @ high, "low": rows[ids] @ (q - (high << 7)), "mantissa": scales.mantissa[ids],
        "shift": shifts[ids], "id": ids, "first": (ids == 0).astype(int), "valid": np.ones(count, int),
    }  # fmt: skip
    return Argmax(), inputs, {"best_id": best, "best": [int(found[i]) for i in best]}


def scale_of_case(rng, count):
    values = np.abs(spread(rng, 49, count))
    values = np.minimum(values, (1 << 48) - 1)
    scale = scale_of(values)
    return ScaleOf(), {"value": values}, {"mantissa": scale.mantissa.tolist(), "exponent": scale.exponent.tolist()}


def scale_product_case(rng, count):
    a, b = (Scale(rng.integers(1 << 15, 1 << 16, count), rng.integers(-200, 200, count)) for _ in range(2))
    a.mantissa[:3], b.mantissa[2:5] = 0, 0
    product = multiply(a, b)
    inputs = {"a_mantissa": a.mantissa, "a_exponent": a.exponent, "b_mantissa": b.mantissa, "b_exponent": b.exponent}
    expected = {"mantissa": product.mantissa.tolist(), "exponent": product.exponent.tolist()}
    return ScaleMultiplier(), inputs, expected


CASES = {
    "scale of": scale_of_case,
    "scale product": scale_product_case,
    "rescale": rescale_case,
    "dequantize": dequantize_case,
    "score": lambda rng, count: dequantize_case(rng, count, hidden=True),
    "quantize": quantize_case,
    "norm": norm_case,
    "square": square_case,
    "rope": rope_case,
    "exponential": exponential_case,
    "silu": silu_case,
    "residual": residual_case,
    "row maximum": row_maximum_case,
    "weight": weight_case,
    "accumulate": accumulate_case,
    "normalize": normalize_case,
    "embedding": embedding_case,
    "argmax": argmax_case,
}


def as_lists(inputs):
    return {name: np.asarray(values).tolist() for name, values in inputs.items()}


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=4, deadline=None)
@given(seed=st.integers(0, 9999))
def test_a_lane_equals_the_reference_after_its_latency(name, seed):
    dut, inputs, expected = CASES[name](np.random.default_rng(seed), 80)
    assert simulated(dut, as_lists(inputs)) == expected


@pytest.mark.parametrize("name", CASES)
def test_its_verilog_in_icarus_does_too(name, tmp_path):
    dut, inputs, expected = CASES[name](np.random.default_rng(1), 2000)
    assert icarus(dut, as_lists(inputs), tmp_path) == expected


@pytest.mark.parametrize("name", CASES)
def test_it_has_the_multipliers_that_it_states(name):
    dut, _, _ = CASES[name](np.random.default_rng(0), 3)
    cells = word_level_cells(rtlil.convert(dut, name="dut", emit_src=False))
    assert sum(cells.get(kind, 0) for kind in MULTIPLIERS) == dut.multipliers


@pytest.mark.parametrize("size", [2, 8, 64])
def test_a_transform_of_a_head_per_edge_equals_the_reference(size):
    x = np.random.default_rng(size).integers(-(2**25), 2**25, (5, size))
    dut = HadamardTransformer(size)
    assert simulated(dut, {"words": x.tolist()}) == {"result": transformed(x).tolist()}
    cells = word_level_cells(rtlil.convert(dut, name="dut", emit_src=False))
    assert not set(cells) & set(MULTIPLIERS)


@pytest.mark.parametrize("size", [1, 6])
def test_sizes_without_a_transform_are_refused(size):
    with pytest.raises(InputError, match=rf"^size of a Hadamard transform must be a power of two of .*, not {size}$"):
        HadamardTransformer(size)
