"""Closed forms: cycles and causes of one GEMM without stalls from outside, and SCALE-Sim's cycles as a baseline.

Ref: docs/architecture.md, "Counting"; SCALE-Sim v3 (Samajdar et al., ISPASS 2020, section III: fold counts and the
times of a fold); the input-stationary form is derived from the weight-stationary one by exchanging M and N.
"""

import math
from typing import Literal

from hw.config import ArrayConfig
from hw.formats import PLAIN, GemmFormat
from quant.shapes import Gemm
from sim.gemm.tiling import TileGrid, fold_positions
from sim.kernels.causes import CycleCounts

__all__ = ["closed_form", "scale_sim_cycles"]


def closed_form(gemm: Gemm, array: ArrayConfig, formats: GemmFormat = PLAIN) -> CycleCounts:
    """Cycles, every stream always ready.

    ``b_0 + 1 + sum over j < T-1 of max(m_j, b_(j+1)) + m_(T-1) + pipeline_latency``: tile j+1 takes its b_(j+1) beats
    while tile j works on its m_j tokens; a last fold brings the scales of its rows along where the format has them.
    The systolic organisation follows its own recurrence (docs/architecture.md).
    """
    if array.structure.outputs_stationary:
        return _grid_form(gemm, array, formats)
    grid, beats = TileGrid.of(gemm, array, formats.planes), array.weight_beats
    last_beats = beats + array.scale_beats * formats.row_scales
    first_beats = last_beats if grid.folds == 1 else beats
    weight_stall = 0
    for tokens in grid.token_tiles:
        weight_stall += grid.column_tiles * (grid.folds - 1) * max(0, beats - tokens)
        weight_stall += grid.column_tiles * max(0, last_beats - tokens)
    weight_stall -= max(0, first_beats - grid.token_tiles[-1])  # no first fold follows the last tile
    fill_drain = first_beats + 1 + array.pipeline_latency
    return CycleCounts(grid.issues + fill_drain + weight_stall, grid.issues, fill_drain, weight_stall)


def _grid_form(gemm: Gemm, array: ArrayConfig, formats: GemmFormat) -> CycleCounts:
    """The systolic recurrence, tile after tile.

    w_j = max(w_(j-1) + b_j, d_(j-1)), d_j = max(w_j, d_(j-1) + f) + s_j, at least d_i + m_i where a column tile ends.
    """
    grid = TileGrid.of(gemm, array, formats.planes)
    positions = fold_positions(gemm.k, array.rows, formats.planes)
    beats = [array.weight_beats] * grid.folds
    beats[-1] += array.scale_beats * formats.row_scales
    swap, done, restart, free = 1, 0, 0, 0
    ideal = fill_drain = weight_stall = output_stall = 0
    for tokens in grid.token_tiles:
        for _ in range(grid.column_tiles):
            for fold in range(grid.folds):
                swap = max(swap + beats[fold], done)
                weight_stall += swap - done
                idle = max(0, done + restart - swap)
                done = swap + idle + positions[fold]
                fill_drain, ideal, restart = fill_drain + idle, ideal + positions[fold], 0
            output_stall += max(0, free - done)
            done = max(done, free)
            restart, free = 1, done + tokens
    first = beats[0] + 1  # the first tile's load and its swap
    drain = array.pipeline_latency + grid.token_tiles[-1] - 1
    return CycleCounts(done + drain, ideal, fill_drain + first + drain, weight_stall - first, 0, output_stall)


def scale_sim_cycles(gemm: Gemm, rows: int, cols: int, dataflow: Literal["ws", "os", "is"]) -> int:
    """SCALE-Sim's compute cycles of a ``rows`` x ``cols`` systolic array; folds follow each other without overlap.

    Weights stationary: K on rows, N on columns; a fold loads R rows and streams M tokens through a skew of R + C - 2.
    Inputs stationary: K on rows, M on columns; a fold loads R rows and streams N filters through the same skew.
    Outputs stationary: M on rows, N on columns; a fold streams K through the skew of R + C - 2.
    """
    m, n, k = gemm
    match dataflow:
        case "ws":
            return math.ceil(k / rows) * math.ceil(n / cols) * (2 * rows + cols + m - 2) - 1
        case "is":
            return math.ceil(k / rows) * math.ceil(m / cols) * (2 * rows + cols + n - 2) - 1
        case "os":
            return math.ceil(m / rows) * math.ceil(n / cols) * (k + rows + cols - 2) - 1
