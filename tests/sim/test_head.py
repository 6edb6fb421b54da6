"""lm_head and embedding in fewer bits: bytes from DRAM by hand; digits that an array cannot multiply are refused."""

import pytest

from hw.config import ArrayConfig, sized
from hw.errors import InputError
from quant.manifest import Manifest, TableEntry
from quant.shapes import load_shape
from sim.job import SimJob
from sim.memory import load_memory
from sim.residence import stored_bytes
from sim.simulator import simulate
from sim.trace.build import build_trace
from sim.trace.ops import Formats

SHAPE, MEMORY = load_shape("stories260K"), load_memory("hbm3-6400")  # 512 x 64 lm_head, which fills 8 x 8 tiles
DIGITS = ArrayConfig(name="d", rows=8, cols=8, planes=4, digits=True, packing="5in8", weight_bus_bits=64)


def ops(array, **formats):
    result = simulate(SHAPE, array, MEMORY, 4, 1, formats=Formats(**formats))
    return {op.name: op for op in result.phase("decode").ops}


@pytest.mark.parametrize("digits", [1, 2, 3, 4])
def test_digits_of_lm_head_are_planes_of_trits_with_one_scale(digits):
    """Tiles of 64 trits at five in a byte take 13 bytes; 64 column tiles of 8 folds, and 16 bits for each row."""
    head = ops(DIGITS, head_digits=digits)["lm_head"]
    assert head.unit == "array"
    assert head.counts.dram_read_bits == 8 * 64 * 8 * 13 * digits + 16 * 512
    assert head.counts.array_macs == 512 * 64 * digits
    assert head.counts.scale_multiplies == 512


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_bits_of_lm_head_on_the_vector_unit(bits):
    head = ops(sized(8, 8), head_bits=bits)["lm_head"]
    assert (head.unit, head.counts.dram_read_bits) == ("vector", 512 * 64 * bits)


@pytest.mark.parametrize("bits", [2, 4, 8, 16])
def test_bits_of_the_embedding(bits):
    assert ops(sized(8, 8), embedding_bits=bits)["embedding"].counts.dram_read_bits == 64 * bits


def test_the_capacity_counts_what_is_kept():
    plain = stored_bytes(build_trace(SHAPE, 4, 1), DIGITS)
    kept = stored_bytes(build_trace(SHAPE, 4, 1, formats=Formats(head_digits=3, embedding_bits=2)), DIGITS)
    assert plain - kept == pytest.approx((512 * 64 * (8 + 16 - 3 * 1.6 - 2) - 16 * 512) / 8, abs=1)


def test_options_reach_the_formats_and_rivals_keep_their_own():
    job = SimJob(head_digits=2, head_bits=4, embedding_bits=8)
    formats = job.formats(DIGITS, SHAPE)
    assert (formats.head_digits, formats.head_bits, formats.embedding_bits) == (2, 4, 8)
    assert job.as_rival().formats(DIGITS.baseline("fp16"), SHAPE).head_digits is None
    assert SimJob().formats(DIGITS.baseline("fp16"), SHAPE).head_bits == 16


def quantized(head, embedding):
    """A run whose head and embedding are in digits, or float where None."""
    entries = [
        TableEntry(name="lm_head", roles=("head",), digits=head, bits=1),
        TableEntry(name="embed_tokens", roles=("embedding",), digits=embedding, bits=1),
    ]
    return Manifest.model_construct(tables=entries, kv=None)


@pytest.mark.parametrize(
    ("changes", "array", "manifest", "wanted"),
    [
        ({}, DIGITS, quantized(3, 1), (3, 2)),
        ({}, DIGITS, quantized(1, 2), (1, 4)),
        ({}, DIGITS, quantized(2, 3), (2, 8)),
        ({}, DIGITS, quantized(None, None), (None, 16)),
        ({}, sized(8, 8), quantized(1, 1), (1, 2)),
        ({}, sized(8, 8), quantized(2, 2), (None, 4)),  # one plane: the head stays 8 bits on the vector unit
        ({}, DIGITS.baseline("int8"), quantized(1, 1), (None, 2)),
        ({"head_digits": 4, "embedding_bits": 16}, DIGITS, quantized(1, 1), (4, 16)),
        ({"head_bits": 4}, DIGITS, quantized(1, 1), (None, 2)),
        ({"placement": {"lm_head": "vector"}}, DIGITS, quantized(1, 1), (None, 2)),
    ],
)
def test_a_quantized_model_brings_its_own_digits_unless_asked_otherwise(changes, array, manifest, wanted):
    formats = SimJob(**changes).formats(array, SHAPE, manifest)
    assert (formats.head_digits, formats.embedding_bits) == wanted


@pytest.mark.parametrize(
    ("array", "digits", "message"),
    [
        (sized(8, 8), 2, "head_digits must be at most 1 on array '8x8', whose planes are 1 and digits false, not 2"),
        (DIGITS, 5, "head_digits must be at most 4 on array 'd', whose planes are 4 and digits true, not 5"),
        (sized(8, 8).baseline("int8"), 1, "head_digits must be left out with int8 lanes of array '8x8/int8', not 1"),
        (
            ArrayConfig(name="low", rows=4, cols=8, planes=4, digits=True, accumulator_bits=16), 4,
            "lm_head: K = 64 in 4 digits needs accumulator_bits of at least 20, not 16 of array 'low'",
        ),
    ],
)  # fmt: skip
def test_digits_that_an_array_cannot_multiply_are_refused(array, digits, message):
    with pytest.raises(InputError) as refused:
        ops(array, head_digits=digits)
    assert str(refused.value).startswith(message)
