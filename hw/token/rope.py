"""ROPE: rotary position embedding of neighbouring pairs by a stored row of cosines and sines, Q1.14.

``e' = round_half_even((e * c - o * s) / 2**14)``, ``o' = round_half_even((e * s + o * c) / 2**14)`` for the elements
``e = x[2 i]``, ``o = x[2 i + 1]``. Row ``p`` of the table is ``round(2**14 * cos(p * theta**(-2 i / d)))`` and the
sines, computed in float64: the table is the definition. A checkpoint whose pairs are ``(i, i + d/2)`` has the rows of
its q and k linears permuted once (``neighbour_rows``), which leaves every score as it is.

Error: half a unit, and ``2**-15`` of ``|e| + |o|`` from the table.
Ref: Su et al., RoFormer, arXiv 2104.09864, section 3.2.2.
"""

import numpy as np

from hw.token.formats import rounded

__all__ = ["TABLE_FRACTION", "neighbour_rows", "rotary_table", "rotated"]

TABLE_FRACTION = 14


def rotary_table(positions: int, head_dim: int, theta: float) -> np.ndarray:
    """Cosines and sines of every position: int64 ``(positions, 2, head_dim / 2)``, each of 16 bits."""
    frequencies = theta ** -(np.arange(0, head_dim, 2, dtype=np.float64) / head_dim)
    angles = np.arange(positions, dtype=np.float64)[:, None] * frequencies
    table = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return np.rint(table * (1 << TABLE_FRACTION)).astype(np.int64)


def rotated(x: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rotate ``(m, heads, d)`` words of 24 bits by the table's rows ``(m, 2, d / 2)`` of their positions."""
    cosine, sine = rows[:, None, 0], rows[:, None, 1]
    even, odd = x[..., 0::2], x[..., 1::2]
    y = np.empty_like(x)
    y[..., 0::2] = rounded(even * cosine - odd * sine, TABLE_FRACTION)
    y[..., 1::2] = rounded(even * sine + odd * cosine, TABLE_FRACTION)
    return y


def neighbour_rows(heads: int, head_dim: int) -> np.ndarray:
    """Order of rows that turns pairs ``(i, i + d/2)`` of each head into neighbours: int64 ``(heads * d,)``."""
    half = head_dim // 2
    within = np.arange(head_dim).reshape(2, half).T.reshape(-1)
    return (np.arange(heads)[:, None] * head_dim + within).reshape(-1)
