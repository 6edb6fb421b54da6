"""NumPy references of the floating-point baselines, bit for bit."""

import numpy as np

from hw.gates.designs.float_columns import WINDOW_BITS
from hw.gates.designs.floats import BF16, FP16, FP32, FloatFormat

__all__ = ["decode", "encode", "float_column", "float_lane", "flush"]

_DTYPE = {FP16: np.float16, FP32: np.float32}


def flush(value: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """Subnormals of ``fmt`` as zero."""
    return np.where(np.abs(value) < 2.0 ** (1 - fmt.bias), np.zeros_like(value), value)


def encode(value: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """Bits (int64) of values rounded to ``fmt``, subnormals flushed."""
    if fmt is BF16:
        bits = flush(np.asarray(value, np.float32), FP32).view(np.uint32).astype(np.int64)
        return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    rounded = flush(np.asarray(value, _DTYPE[fmt]), fmt)
    return rounded.view(np.uint16 if fmt is FP16 else np.uint32).astype(np.int64)


def decode(bits: np.ndarray, fmt: FloatFormat) -> np.ndarray:
    """Exact values (float64) of bits."""
    if fmt is BF16:
        return (bits.astype(np.uint32) << 16).view(np.float32).astype(np.float64)
    kind = np.uint16 if fmt is FP16 else np.uint32
    return bits.astype(kind).view(_DTYPE[fmt]).astype(np.float64)


def float_lane(
    x: np.ndarray, w: np.ndarray, first: np.ndarray, operand: FloatFormat, accumulator: FloatFormat
) -> np.ndarray:
    """Values of ``acc`` after each operand pair (bits ``x``, ``w``): float of the accumulator's type ``(cycles,)``."""
    dtype = _DTYPE[accumulator]
    exact = decode(x, operand) * decode(w, operand)  # at most 22 significant bits
    product = flush(exact, accumulator).astype(dtype)
    return _accumulate(product, first, accumulator)


def float_column(
    x: np.ndarray, w: np.ndarray, first: np.ndarray, operand: FloatFormat, accumulator: FloatFormat
) -> np.ndarray:
    """Values of ``acc`` of one column: bits ``x``, ``w`` ``(cycles, rows)``."""
    bits = operand.fraction_bits
    exponents = [v >> bits & (1 << operand.exponent_bits) - 1 for v in (x, w)]
    nonzero = (exponents[0] > 0) & (exponents[1] > 0)
    exponent = np.where(nonzero, exponents[0] + exponents[1], 0)
    significands = [(v & (1 << bits) - 1) | 1 << bits for v in (x, w)]
    product = np.where(nonzero, significands[0] * significands[1], 0) << (WINDOW_BITS - 2 * (bits + 1))
    largest = exponent.max(axis=1)
    aligned = product >> np.minimum(largest[:, None] - exponent, 62)
    negative = (x ^ w) >> (operand.bits - 1) & 1 == 1
    total = np.where(negative, -aligned, aligned).sum(axis=1)
    magnitude = np.abs(total)
    kept = accumulator.fraction_bits + 1
    surplus = np.maximum(np.frexp(magnitude.astype(np.float64))[1] - kept, 0)
    cut = (magnitude >> surplus) << surplus
    scale = largest - 2 * operand.bias - (WINDOW_BITS - 2)
    value = np.where(total < 0, -1.0, 1.0) * np.ldexp(cut.astype(np.float64), scale)
    return _accumulate(flush(value, accumulator).astype(_DTYPE[accumulator]), first, accumulator)


def _accumulate(terms: np.ndarray, first: np.ndarray, accumulator: FloatFormat) -> np.ndarray:
    result = np.empty_like(terms)
    acc = terms.dtype.type(0)
    for cycle, term in enumerate(terms):
        acc = flush((terms.dtype.type(0) if first[cycle] else acc) + term, accumulator)[()]
        result[cycle] = acc
    return result
