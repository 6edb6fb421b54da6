"""Ways to run a model's linears on the same lanes, cycle by cycle, without memory: which is best, and by how much."""

from typing import NamedTuple

import numpy as np

from hw.config import ArrayConfig
from quant.shapes import LINEAR_KINDS, Gemm, ModelShape
from sim.gemm.closed_form import closed_form, scale_sim_cycles
from sim.gemm.tiling import TileGrid, fold_positions
from sim.kernels.rounds import NO_DRAM, CoreTiming, Rounds
from sim.kernels.tiles import step_tiles

__all__ = ["MAPPINGS", "LinearMapping", "linear_mappings"]

MAPPINGS = (
    "tree, double-buffered",  # this project's array
    "tree, single-buffered",  # no tile loads while another is used
    "grid, double-buffered",  # this project's systolic organisation, outputs stationary
    "systolic, weights stationary",
    "systolic, outputs stationary",
    "systolic, inputs stationary",
)


class LinearMapping(NamedTuple):
    """One linear of one phase under every mapping."""

    kind: str
    gemm: Gemm
    cycles: dict[str, int]  # keys of MAPPINGS

    @property
    def best(self) -> str:
        """The mapping with the fewest cycles."""
        return min(self.cycles, key=self.cycles.__getitem__)

    def utilization(self, mapping: str, lanes: int) -> float:
        """Useful multiply-accumulates over lanes x cycles."""
        return self.gemm.macs / (lanes * self.cycles[mapping])


def linear_mappings(shape: ModelShape, array: ArrayConfig, tokens: int) -> list[LinearMapping]:
    """The distinct linears of a layer for ``tokens`` tokens under every mapping.

    The systolic ones are SCALE-Sim's cycles (``sim.gemm.closed_form``): folds do not overlap, and weights cost no bus.
    """
    linears: dict[tuple[int, int], str] = {}
    for kind in LINEAR_KINDS:
        n_and_k = shape.linear(kind)
        linears[n_and_k] = f"{linears[n_and_k]}, {kind}" if n_and_k in linears else kind
    return [_map(kind, Gemm(tokens, n, k), array) for (n, k), kind in linears.items()]


def _map(kind: str, gemm: Gemm, array: ArrayConfig) -> LinearMapping:
    grid = TileGrid.of(gemm, array)
    in_turn = grid.issues + grid.tiles * (array.weight_beats + 1) + array.pipeline_latency
    systolic = [scale_sim_cycles(gemm, array.rows, array.cols, dataflow) for dataflow in ("ws", "os", "is")]
    return LinearMapping(
        kind,
        gemm,
        dict(
            zip(MAPPINGS, [closed_form(gemm, array).cycles, in_turn, _grid_cycles(gemm, array), *systolic], strict=True)
        ),
    )


def _grid_cycles(gemm: Gemm, array: ArrayConfig) -> int:
    """Cycles of the systolic organisation; stepped, since its recurrence has no shorter form."""
    machine = array.reorganised("systolic")
    tiles = TileGrid.of(gemm, machine)
    rounds = Rounds(gemm.m, machine.token_tile, tiles.column_tiles, tiles.folds)
    core = CoreTiming(machine.weight_beats, machine.weight_beats, machine.pipeline_latency)
    positions = np.array(fold_positions(gemm.k, machine.rows), np.int64)
    return int(step_tiles(rounds, core, NO_DRAM, positions).cycles)
