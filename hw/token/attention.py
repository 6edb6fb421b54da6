"""Attention of one layer on the array: quantized K and V by token, softmax by blocks, for any number of new tokens.

One token at a time and many at once give the same integers: a row sees the blocks of its own past only, and a block
that it must not see at all would change nothing.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hw.errors import InputError
from hw.formats import INT8_LIMIT
from hw.token.digits import digit_limit
from hw.token.formats import OPERAND_BITS, WORD_BITS, Flags, check_accumulator, products
from hw.token.hadamard import block_size
from hw.token.quantize import quantized
from hw.token.scales import KV_BIAS, Scale, StoredScales, constant, multiply, store
from hw.token.softmax import (
    FIRST_MAXIMUM,
    SCORE_FRACTION,
    accumulated,
    exponentials,
    normalized_output,
    scores,
    weighted,
)

__all__ = ["AttentionConstants", "AttentionFormat", "KvCache", "attended", "attention_constants"]

_MARGIN = 1  # octaves above the largest calibrated scale


class AttentionFormat(NamedTuple):
    """How K and V are kept: digits of each, q and k rotated by WHT or not, tokens per block of the softmax."""

    key_digits: int = 4
    value_digits: int = 3
    rotate: bool = True
    block: int = 64


class AttentionConstants(NamedTuple):
    """Shifts of one layer's attention instructions (see ``hw.token.softmax``), and what its output means."""

    query_factor: Scale  # log2(e) / sqrt(d), without WHT's growth
    first: int
    second: int
    fold: int
    third: int
    spare: int
    last: int
    output_fraction: int  # fraction bits of ONORM's words


def attention_constants(
    form: AttentionFormat, head_dim: int, context: int, fraction: int, key_exponent: int, value_exponent: int
) -> AttentionConstants:
    """Constants from the largest exponents of stored K and V scales (calibrated) and the longest context.

    Raises:
        InputError: sums that may leave the accumulator.
    """
    check_accumulator(head_dim, form.key_digits, f"scores of heads of {head_dim}")
    check_accumulator(form.block, form.value_digits, f"values over blocks of {form.block} tokens")
    if not form.block >= 1:
        raise InputError(f"block must be at least 1 token, not {form.block}")
    operand = OPERAND_BITS - 1
    key_exponent, value_exponent = key_exponent + _MARGIN, value_exponent + _MARGIN
    growth = block_size(head_dim) if form.rotate else 1
    largest = INT8_LIMIT * head_dim * digit_limit(form.key_digits)
    first = max(largest.bit_length() + 12 + key_exponent - operand, key_exponent)
    value_bits = digit_limit(form.value_digits).bit_length()
    fold = value_exponent + 15 + 12 - operand
    third = max(context.bit_length() + operand + value_bits - (WORD_BITS - 1), 1)
    output_fraction = fraction + operand - (value_bits + 12 + value_exponent - KV_BIAS)
    return AttentionConstants(
        query_factor=constant(1 / np.log(2) / head_dim**0.5 / growth),
        first=first,
        second=KV_BIAS + 2 * fraction - SCORE_FRACTION - first,
        fold=fold,
        third=third,
        spare=15 + third - value_bits,
        last=KV_BIAS + fraction - output_fraction - fold - third,
        output_fraction=output_fraction,
    )


@dataclass
class KvCache:
    """Keys and values of one layer as the memory holds them; ``length`` tokens of ``capacity`` are there.

    ``keys``, ``values``: integers of the digits' range, float32 ``(kv_heads, capacity, d)``; ``key_scales``,
    ``value_scales``: stored words, uint16 ``(kv_heads, capacity)``.
    """

    keys: np.ndarray
    values: np.ndarray
    key_scales: np.ndarray
    value_scales: np.ndarray
    length: int = 0

    @classmethod
    def empty(cls, kv_heads: int, capacity: int, head_dim: int) -> "KvCache":
        """Room for ``capacity`` tokens."""
        data = [np.zeros((kv_heads, capacity, head_dim), np.float32) for _ in range(2)]
        return cls(*data, *(np.zeros((kv_heads, capacity), np.uint16) for _ in range(2)))

    def append(self, keys: np.ndarray, values: np.ndarray, form: AttentionFormat, flags: Flags | None = None) -> None:
        """Quantize and keep words ``(m, kv_heads, d)`` of m new tokens; keys come rotated.

        Raises:
            InputError: more tokens than there is room for.
        """
        begin, end = self.length, self.length + len(keys)
        if end > self.keys.shape[1]:
            raise InputError(
                f"context must be at most {self.keys.shape[1]} tokens, not {end}: give more room for K and V"
            )
        for words, digits, kept, scales in (
            (keys, form.key_digits, self.keys, self.key_scales),
            (values, form.value_digits, self.values, self.value_scales),
        ):
            q, scale = quantized(words.swapaxes(0, 1), digit_limit(digits))
            kept[:, begin:end] = q
            scales[:, begin:end] = store(scale, KV_BIAS, flags).words()
        self.length = end


def attended(
    queries: np.ndarray,
    cache: KvCache,
    form: AttentionFormat,
    constants: AttentionConstants,
    flags: Flags | None = None,
) -> np.ndarray:
    """Queries ``(m, heads, d)``, rotated words of the m newest tokens -> outputs ``(m, heads, d)``, 32-bit words."""
    m, heads, d = queries.shape
    kv_heads, context = len(cache.keys), cache.length
    group = heads // kv_heads
    rows = queries.reshape(m, kv_heads, group, d).swapaxes(0, 1).reshape(kv_heads, m * group, d)
    q, scale = quantized(rows, INT8_LIMIT)
    scale = multiply(scale, constants.query_factor)
    position = context - m + np.arange(m * group) // group
    maximum = np.full((kv_heads, m * group), FIRST_MAXIMUM, np.int64)
    total = np.zeros_like(maximum)
    output = np.zeros((kv_heads, m * group, d), np.int64)
    for begin in range(0, context, form.block):
        block = slice(begin, min(begin + form.block, context))
        seeing = slice(max(begin - (context - m), 0) * group, None)  # earlier rows see none of it
        visible = np.arange(block.start, block.stop) <= position[seeing, None]
        keys = StoredScales.from_words(cache.key_scales[:, block], KV_BIAS)
        values = StoredScales.from_words(cache.value_scales[:, block], KV_BIAS)
        sums = products(q[:, seeing], cache.keys[:, block])
        own = Scale(scale.mantissa[:, seeing], scale.exponent[:, seeing])
        z = scores(sums, keys, own, visible, constants.first, constants.second, flags)
        powers, maximum[:, seeing], total[:, seeing], shift = exponentials(z, maximum[:, seeing], total[:, seeing])
        p, weight = weighted(powers, values, constants.fold, flags)
        sums = products(p, cache.values[:, block].swapaxes(-1, -2))
        output[:, seeing] = accumulated(output[:, seeing], shift, sums, weight, constants.third, flags)
    o = normalized_output(output, total, constants.spare, constants.last, flags)
    return o.reshape(kv_heads, m, group, d).swapaxes(0, 1).reshape(m, heads, d)
