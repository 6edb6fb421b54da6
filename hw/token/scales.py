"""Scales as small floating-point numbers: ``Scale`` (computed) and the 16-bit word of a stored scale.

``Scale``: ``mantissa * 2**exponent``, mantissa in ``[2**15, 2**16)`` or 0, exponent signed 10 bits. Products,
quotients and roots are floored, so a result is never too large; each operation loses less than ``2**-14`` of it.

Stored word: exponent (5 bits, high) and fraction (11 bits): ``(2048 + fraction) * 2**(exponent - bias)``, the bias one
number per tensor; word 0 is zero.
"""

import math
from typing import NamedTuple

import numpy as np

from hw.token.formats import Flags, bit_length, rounded

__all__ = [
    "KV_BIAS",
    "Scale",
    "StoredScales",
    "constant",
    "multiply",
    "reciprocal",
    "reciprocal_root",
    "scale_of",
    "store",
    "stored_scales",
]

KV_BIAS = 18  # of the stored scales of K and V: they then span 2**-7 to 2**24 units
_FRACTION_BITS, _LAST_EXPONENT = 11, 31


class Scale(NamedTuple):
    """``mantissa * 2**exponent``, int64 arrays of one shape."""

    mantissa: np.ndarray
    exponent: np.ndarray

    def value(self) -> np.ndarray:
        """The number as float64, exact."""
        return np.ldexp(self.mantissa.astype(np.float64), self.exponent.astype(np.int32))

    def times_power(self, power: int) -> "Scale":
        """Times ``2**power``, exact."""
        return Scale(self.mantissa, self.exponent + power)


def constant(x: float) -> Scale:
    """A positive number rounded to 16 bits of mantissa: relative error at most ``2**-16``."""
    fraction, exponent = math.frexp(x)
    mantissa = round(fraction * 65536)
    carry = mantissa == 65536
    return Scale(np.int64(32768 if carry else mantissa), np.int64(exponent - 16 + carry))


def scale_of(v: np.ndarray) -> Scale:
    """The top 16 bits of non-negative integers of up to 48 bits, floor: error below ``2**-15`` of the value."""
    v = np.asarray(v, np.int64)
    exponent = bit_length(v) - 16
    mantissa = (v << np.maximum(-exponent, 0)) >> np.maximum(exponent, 0)
    return _normal(mantissa, exponent)


def multiply(a: Scale, b: Scale) -> Scale:
    """The top 16 bits of the 32-bit product of the mantissas, floor: error below ``2**-15`` of the product."""
    product = a.mantissa * b.mantissa
    large = (product >> 31) & 1
    return _normal(product >> (15 + large), a.exponent + b.exponent + 15 + large)


def reciprocal(a: Scale) -> Scale:
    """``1 / a`` with mantissa ``2**31 // mantissa``, 0 of 0: error below ``2**-15`` of the quotient."""
    return _inverse(a.mantissa, a.exponent)


def reciprocal_root(v: np.ndarray) -> Scale:
    """``1 / sqrt(v)`` of non-negative integers of up to 48 bits, 0 of 0: error within ``2**-14`` of it.

    ``v`` is shifted by an even number to 31 or 32 bits (floor), ``root`` is the integer square root (16 bits), the
    mantissa ``2**31 // root``.
    """
    v = np.asarray(v, np.int64)
    shift = bit_length(v) - 32
    shift += shift & 1
    wide = (v << np.maximum(-shift, 0)) >> np.maximum(shift, 0)
    root = np.floor(np.sqrt(wide.astype(np.float64))).astype(np.int64)  # exact below 2**52
    return _inverse(root, shift >> 1)


def _inverse(mantissa: np.ndarray, exponent: np.ndarray) -> Scale:
    quotient = (np.int64(1) << 31) // np.maximum(mantissa, 1)
    carry = (quotient >> 16) & 1  # 1 / 2**15 gives 2**16
    return _normal(np.where(mantissa > 0, quotient >> carry, 0), carry - 31 - exponent)


def _normal(mantissa: np.ndarray, exponent: np.ndarray) -> Scale:
    """Zero has exponent 0."""
    return Scale(mantissa, np.where(mantissa > 0, exponent, 0))


class StoredScales(NamedTuple):
    """Stored scales taken apart: ``mantissa * 2**(exponent - bias)``; mantissa 0 or 2048..4095, exponent 0..31."""

    mantissa: np.ndarray
    exponent: np.ndarray
    bias: int

    def value(self) -> np.ndarray:
        """The numbers as float64, exact."""
        return np.ldexp(self.mantissa.astype(np.float64), (self.exponent - self.bias).astype(np.int32))

    def words(self) -> np.ndarray:
        """The 16-bit words, uint16."""
        words = (self.exponent << _FRACTION_BITS) | (self.mantissa & 2047)
        return np.where(self.mantissa > 0, words, 0).astype(np.uint16)

    @classmethod
    def from_words(cls, words: np.ndarray, bias: int) -> "StoredScales":
        """What 16-bit words stand for."""
        words = np.asarray(words, np.int64)
        mantissa = np.where(words > 0, 2048 + (words & 2047), 0)
        return cls(mantissa, words >> _FRACTION_BITS, bias)


def store(scale: Scale, bias: int = KV_BIAS, flags: Flags | None = None) -> StoredScales:
    """A computed scale as it is stored: 12 bits of mantissa, rounded half to even, error at most ``2**-12`` of it.

    Too small a scale becomes zero; too large a one the largest word, and raises the flag.
    """
    mantissa = rounded(scale.mantissa, 4)
    carry = mantissa >> 12
    exponent = scale.exponent + 4 + carry + bias
    if (exponent > _LAST_EXPONENT).any() and flags is not None:
        flags.saturated += 1
    large = exponent > _LAST_EXPONENT
    kept = StoredScales(np.where(large, 4095, mantissa >> carry), np.clip(exponent, 0, _LAST_EXPONENT), bias)
    alive = (scale.mantissa > 0) & (exponent >= 0)
    return StoredScales.from_words(np.where(alive, kept.words(), 0), bias)


def stored_scales(values: np.ndarray) -> StoredScales:
    """Non-negative real scales of one tensor as stored words, the largest with exponent 31.

    float16 numbers are exact; others err by at most ``2**-12`` of themselves; below ``2**-31`` of the largest is 0.
    """
    fraction, power = np.frexp(np.asarray(values, np.float64))
    mantissa = np.rint(fraction * 4096).astype(np.int64)
    carry = mantissa >> 12
    mantissa, exponent = mantissa >> carry, power.astype(np.int64) - 12 + carry
    bias = _LAST_EXPONENT - int(exponent[mantissa > 0].max(initial=-(2**15)) if (mantissa > 0).any() else 0)
    alive = (mantissa > 0) & (exponent + bias >= 0)
    kept = StoredScales(np.where(alive, mantissa, 0), np.where(alive, exponent + bias, 0), bias)
    return StoredScales.from_words(kept.words(), bias)
