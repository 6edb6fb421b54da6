"""Cycles of one GEMM under recorded valid/ready patterns: what the RTL's counters must equal."""

from collections.abc import Sequence

import numpy as np

from hw.config import ArrayConfig
from hw.formats import PLAIN, GemmFormat
from quant.shapes import Gemm
from sim.gemm.tiling import TileGrid, fold_positions
from sim.kernels.causes import CycleCounts
from sim.kernels.edges import ArrayTiming, Patterns, TileStream, step_edges

__all__ = ["count_cycles", "tile_stream"]

Pattern = Sequence[int] | np.ndarray


def tile_stream(gemm: Gemm, array: ArrayConfig, formats: GemmFormat = PLAIN) -> TileStream:
    """The weight tiles of a GEMM in stream order."""
    grid = TileGrid.of(gemm, array, formats.planes)
    tokens = np.repeat(np.array(grid.token_tiles, np.int64), grid.column_tiles * grid.folds)
    last = np.zeros((grid.tiles // grid.folds, grid.folds), np.int64)
    last[:, -1] = 1
    last = last.reshape(-1)
    vectors = tokens
    if array.structure.outputs_stationary:
        column = np.array(fold_positions(gemm.k, array.rows, formats.planes), np.int64)
        vectors = np.tile(column, tokens.size // column.size)
    return TileStream(vectors, tokens * last, array.weight_beats + array.scale_beats * formats.row_scales * last)


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
    timing = ArrayTiming(array.structure.outputs_stationary, array.pipeline_latency, array.result_queue_depth)
    patterns = (np.asarray(pattern, dtype=np.int64) for pattern in (weights_valid, activations_valid, results_ready))
    counts = step_edges(tile_stream(gemm, array, formats), timing, Patterns(*patterns))
    return CycleCounts(*(int(value) for value in counts))
