"""Closed forms: cycles and causes of one GEMM without stalls from outside, and SCALE-Sim's cycles as a baseline.

Ref: docs/architecture.md, "Counting"; SCALE-Sim v3 (Samajdar et al., ISPASS 2020, section III: fold counts and fill,
stream and drain times of the two stationary dataflows).
"""

import math
from typing import NamedTuple

from hw.config import ArrayConfig
from hw.errors import InputError
from quant.shapes import Gemm

__all__ = ["CycleCounts", "TileGrid", "closed_form", "scale_sim_output_stationary", "scale_sim_weight_stationary"]


class CycleCounts(NamedTuple):
    """Cycles of one GEMM and their causes, named as in docs/architecture.md; the causes sum to ``cycles``."""

    cycles: int
    ideal: int
    fill_drain: int
    weight_stall: int
    input_stall: int = 0
    output_stall: int = 0


class TileGrid(NamedTuple):
    """How one GEMM falls into tiles: token tiles (the last may be short), column tiles, folds over K."""

    token_tiles: tuple[int, ...]  # tokens of each
    column_tiles: int
    folds: int

    @classmethod
    def of(cls, gemm: Gemm, array: ArrayConfig) -> "TileGrid":
        """The grid of ``gemm`` on ``array``.

        Raises:
            InputError: a dimension below one.
        """
        if min(gemm) < 1:
            raise InputError(f"GEMM dimensions must be at least 1, not m = {gemm.m}, n = {gemm.n}, k = {gemm.k}")
        full, rest = divmod(gemm.m, array.token_tile)
        token_tiles = (array.token_tile,) * full + ((rest,) if rest else ())
        return cls(token_tiles, math.ceil(gemm.n / array.cols), math.ceil(gemm.k / array.rows))

    @property
    def tiles(self) -> int:
        """Weight tiles that stream, over all token tiles."""
        return len(self.token_tiles) * self.column_tiles * self.folds

    @property
    def issues(self) -> int:
        """Activation vectors that the array takes: its ideal cycles."""
        return sum(self.token_tiles) * self.column_tiles * self.folds


def closed_form(gemm: Gemm, array: ArrayConfig) -> CycleCounts:
    """Cycles, every stream always ready: ``B + 1 + sum over j < T-1 of max(m_j, B) + m_(T-1) + pipeline_latency``."""
    grid, beats = TileGrid.of(gemm, array), array.weight_beats
    tiles_per_token_tile = grid.column_tiles * grid.folds
    weight_stall = sum(tiles_per_token_tile * max(0, beats - tokens) for tokens in grid.token_tiles)
    weight_stall -= max(0, beats - grid.token_tiles[-1])  # nothing follows the last tile
    fill_drain = beats + 1 + array.pipeline_latency
    return CycleCounts(grid.issues + fill_drain + weight_stall, grid.issues, fill_drain, weight_stall)


def scale_sim_weight_stationary(gemm: Gemm, rows: int, cols: int) -> int:
    """SCALE-Sim's compute cycles of a systolic array with weights stationary (K on rows, N on columns).

    Each fold loads R rows, streams M tokens through the skew of R + C - 2 and does not overlap with the next.
    """
    return math.ceil(gemm.k / rows) * math.ceil(gemm.n / cols) * (2 * rows + cols + gemm.m - 2) - 1


def scale_sim_output_stationary(gemm: Gemm, rows: int, cols: int) -> int:
    """SCALE-Sim's compute cycles with outputs stationary (M on rows, N on columns): stream K, then shift R rows out."""
    return math.ceil(gemm.m / rows) * math.ceil(gemm.n / cols) * (gemm.k + rows + cols - 2) - 1
