"""Cycles of one GEMM under recorded valid/ready patterns: what the RTL's counters must equal."""

from collections.abc import Sequence

import numpy as np

from hw.config import ArrayConfig
from hw.formats import PLAIN, GemmFormat
from quant.shapes import Gemm
from sim.gemm.closed_form import CycleCounts, TileGrid, fold_positions
from sim.kernels.tiles import step_cycles

__all__ = ["count_cycles", "tile_sequence"]

Pattern = Sequence[int] | np.ndarray


def tile_sequence(gemm: Gemm, array: ArrayConfig, formats: GemmFormat = PLAIN) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of each tile and whether it is a last fold, in stream order: two int64 arrays ``(tiles,)``."""
    grid = TileGrid.of(gemm, array, formats.planes)
    tokens = np.repeat(np.array(grid.token_tiles, np.int64), grid.column_tiles * grid.folds)
    last = np.zeros((grid.tiles // grid.folds, grid.folds), np.int64)
    last[:, -1] = 1
    return tokens, last.reshape(-1)


def count_cycles(
    gemm: Gemm,
    array: ArrayConfig,
    weights_valid: Pattern = (),
    activations_valid: Pattern = (),
    results_ready: Pattern = (),
    formats: GemmFormat = PLAIN,
) -> CycleCounts:
    """Cycles and causes of one GEMM, edge by edge, exactly as docs/architecture.md counts them.

    Each pattern holds 0 or 1 at edges 1, 2, ... after the one that accepts the descriptor; an edge beyond a
    pattern's end counts as 1, so an empty pattern never stalls.
    """
    tokens, last = tile_sequence(gemm, array, formats)
    systolic = array.structure.outputs_stationary
    vectors = tokens
    if systolic:
        column = np.array(fold_positions(gemm.k, array, formats.planes), np.int64)
        vectors = np.tile(column, tokens.size // column.size)
    beats = array.weight_beats + array.scale_beats * formats.row_scales * last
    patterns = (np.asarray(pattern, dtype=np.int64) for pattern in (weights_valid, activations_valid, results_ready))
    counts = step_cycles(
        vectors, tokens * last, beats, systolic, array.pipeline_latency, array.result_queue_depth, *patterns
    )
    return CycleCounts(*(int(value) for value in counts))
