"""Slow, obvious references for the fast implementations: written from the contract, sharing no code."""

from collections.abc import Sequence

__all__ = ["gemm_sums", "pack_2bit", "pack_5in8", "quantize_token"]


def gemm_sums(q: Sequence[Sequence[int]], trits: Sequence[Sequence[int]]) -> list[list[int]]:
    """``acc[m][n] = sum over k of q[m][k] * t[n][k]``, with Python's integers."""
    return [[sum(x * t for x, t in zip(token, row, strict=True)) for row in trits] for token in q]


def quantize_token(x: Sequence[float]) -> tuple[list[int], float]:
    """One token to int8 by the contract; ``x`` must be float32 numbers whose quotients are exact in float64."""
    scale = max(abs(v) for v in x) / 127
    return [max(-127, min(127, round(v / scale))) if scale else 0 for v in x], scale


def pack_2bit(row: Sequence[int]) -> list[int]:
    """Bytes of one row: trit i in bits 2*(i % 4) of byte i // 4; 0 = 00, +1 = 01, -1 = 11."""
    out = [0] * ((len(row) + 3) // 4)
    for i, trit in enumerate(row):
        out[i // 4] += {0: 0, 1: 1, -1: 3}[trit] * 4 ** (i % 4)
    return out


def pack_5in8(row: Sequence[int]) -> list[int]:
    """Bytes of one row: five trits per byte, the first has weight 1, the fifth 81; missing ones are zero trits."""
    padded = [*row, *[0] * (-len(row) % 5)]
    return [sum((padded[i + j] + 1) * (1, 3, 9, 27, 81)[j] for j in range(5)) for i in range(0, len(padded), 5)]
