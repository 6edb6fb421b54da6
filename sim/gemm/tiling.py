"""How one GEMM falls into weight tiles: token tiles, column tiles, and folds over K."""

import math
from typing import NamedTuple

from hw.config import ArrayConfig
from hw.errors import InputError
from quant.shapes import Gemm

__all__ = ["TileGrid", "fold_count", "fold_positions"]


def fold_count(k: int, rows: int, planes: int = 1, group: int | None = None) -> int:
    """Weight tiles along K of one output column, all planes; none crosses the border of a ``group`` of columns."""
    group = group or k
    full, rest = divmod(k, group)
    return planes * (full * math.ceil(group / rows) + math.ceil(rest / rows))


def fold_positions(k: int, rows: int, planes: int = 1, group: int | None = None) -> tuple[int, ...]:
    """Positions of K in each of these tiles: ``rows``, and what is left in the last of a group."""
    group = group or k
    ends = [(first, min(first + group, k)) for first in range(0, k, group)]
    return planes * tuple(min(rows, end - at) for first, end in ends for at in range(first, end, rows))


class TileGrid(NamedTuple):
    """How one GEMM falls into tiles: token tiles (the last may be short), column tiles, folds over K and planes."""

    token_tiles: tuple[int, ...]  # tokens of each
    column_tiles: int
    folds: int

    @classmethod
    def of(cls, gemm: Gemm, array: ArrayConfig, planes: int = 1) -> "TileGrid":
        """The grid of ``gemm`` on ``array``; the folds of all ``planes`` follow one another.

        Raises:
            InputError: a dimension below one.
        """
        if min(gemm) < 1:
            raise InputError(f"GEMM dimensions must be at least 1, not m = {gemm.m}, n = {gemm.n}, k = {gemm.k}")
        full, rest = divmod(gemm.m, array.token_tile)
        token_tiles = (array.token_tile,) * full + ((rest,) if rest else ())
        return cls(token_tiles, math.ceil(gemm.n / array.cols), fold_count(gemm.k, array.rows, planes))

    @property
    def tiles(self) -> int:
        """Weight tiles that stream, over all token tiles."""
        return len(self.token_tiles) * self.column_tiles * self.folds

    @property
    def issues(self) -> int:
        """Activation vectors that a tree takes: its ideal cycles."""
        return sum(self.token_tiles) * self.column_tiles * self.folds
