"""Rivals of equal lanes, compute area, area, power or bandwidth: rows and columns are scaled until what is held fits.

A rival keeps its buffers, vector unit and clock. Its rows are the ternary array's times a power of two, its columns any
number; but it is not much longer than wide, since long arrays need large accumulators or waste lanes on edges. Of the
shapes that fit it takes the one of most lanes.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Literal, NamedTuple

from energy.area import area_of
from energy.costs.sources import CostSource
from energy.model import OFF_CHIP, energy_of
from hw.config import ArrayConfig
from hw.errors import InputError
from sim.cores import CoreGroup
from sim.result import SimResult

__all__ = ["Hold", "Sizing", "chip_power_w", "sized_rival"]

Hold = Literal["lanes", "compute-area", "area", "power", "bandwidth"]
Shape = tuple[int, int]  # rows, columns

_MAX_SIDE = 1024
_RATIO = 2.0  # of the longer to the shorter side, at most, but for a ternary array that is longer itself
_LEAST = 64  # an array that is simulated has at least this part of the ternary array's lanes
_NEAR = 1.01  # of the fastest prefill: more lanes than that buy nothing

Simulate = Callable[[ArrayConfig], SimResult]

_HELD = {
    "compute-area": ("area of array and vector unit", "mm2"),
    "area": ("area", "mm2"),
    "power": ("power of prefill on the chip", "W"),
}


class Sizing(NamedTuple):
    """What rivals are sized against: the ternary run, what is held, and how a machine is run and priced."""

    hold: Hold
    ternary: SimResult
    costs: CostSource
    cores: CoreGroup
    simulate: Simulate


def sized_rival(rival: ArrayConfig, sizing: Sizing, widen_bus: bool) -> ArrayConfig:
    """``rival``, which has the ternary array's rows and columns, with those that what is held allows.

    ``widen_bus``: a larger array gets a bus that takes its tile in as many cycles.

    Raises:
        InputError: no shape fits, with the numbers; costs without areas.
    """

    def shaped(shape: Shape) -> ArrayConfig:
        return sizing.cores.fed(rival.resized(*shape, widen_bus))

    own = sizing.ternary.array
    match sizing.hold:
        case "lanes":
            return rival
        case "bandwidth":
            return shaped(_as_fast(shaped, sizing))
        case "power":
            budget = chip_power_w(sizing.ternary, sizing.costs)
            shapes = [shape for shape in _shapes(own) if _LEAST * shape[0] * shape[1] >= own.lanes]
            fit = _last(shapes, lambda shape: _power_w(shaped(shape), sizing) <= budget)
            if fit is None:
                raise _refusal(rival, sizing, budget, shapes[0], _power_w(shaped(shapes[0]), sizing))
        case _:
            budget = _area_mm2(own, sizing)
            shapes = _shapes(own)
            fit = _largest(shapes, lambda shape: _area_mm2(shaped(shape), sizing) <= budget)
            if fit is None:
                raise _refusal(rival, sizing, budget, shapes[0], _area_mm2(shaped(shapes[0]), sizing))
    return shaped(fit)


def chip_power_w(result: SimResult, costs: CostSource) -> float:
    """Average power of prefill, all parts but DRAM and host."""
    phase = energy_of(result, costs).phases[0]
    return sum(cost.typical for part, cost in phase.parts.items() if part not in OFF_CHIP) / phase.seconds


def _power_w(machine: ArrayConfig, sizing: Sizing) -> float:
    return chip_power_w(sizing.simulate(machine), sizing.costs)


def _area_mm2(machine: ArrayConfig, sizing: Sizing) -> float:
    area = area_of(machine, sizing.costs, sizing.cores)
    if area is None:
        raise InputError(
            f"hold {sizing.hold}: costs {sizing.costs.name!r} must name a cell library (field area), or be "
            "gates:LIBRARY; hold lanes, power or bandwidth without one"
        )
    return (area.compute if sizing.hold == "compute-area" else area.total).typical


def _refusal(rival: ArrayConfig, sizing: Sizing, budget: float, least: Shape, needed: float) -> InputError:
    what, unit = _HELD[sizing.hold]
    return InputError(
        f"hold {sizing.hold}: {rival.mac} must fit {what} of {budget:.4g} {unit}, but {least[0]}x{least[1]} lanes take "
        f"{needed:.4g} {unit}; hold lanes, or leave {rival.mac} out of rivals"
    )


def _as_fast(shaped: Callable[[Shape], ArrayConfig], sizing: Sizing) -> Shape:
    """The fewest lanes whose prefill is as fast as the ternary array's, or nearly as fast as any number's."""
    own = sizing.ternary.array
    shapes = [shape for shape in _shapes(own) if _LEAST * shape[0] * shape[1] >= own.lanes]

    def seconds(shape: Shape) -> float:
        result = sizing.simulate(shaped(shape))
        return result.seconds(result.phases[0])

    goal = max(sizing.ternary.seconds(sizing.ternary.phases[0]), _NEAR * seconds(shapes[-1]))
    slow = _last(shapes, lambda shape: seconds(shape) > goal)
    return shapes[0] if slow is None else shapes[shapes.index(slow) + 1]


def _shapes(own: ArrayConfig) -> list[Shape]:
    """Shapes that a rival of ``own`` may have, by lanes, of equals the one with more rows last."""
    return list(_shapes_beside(own.rows, own.cols))


@lru_cache
def _shapes_beside(own_rows: int, own_cols: int) -> tuple[Shape, ...]:
    limit = max(_RATIO, own_rows / own_cols, own_cols / own_rows)
    heights = {own_rows >> shift for shift in range(own_rows.bit_length())}
    heights |= {own_rows << shift for shift in range(1, 11) if own_rows << shift <= _MAX_SIDE}
    shapes = [
        (rows, cols)
        for rows in heights
        for cols in range(max(1, int(rows / limit)), min(_MAX_SIDE, int(rows * limit)) + 1)
        if max(rows, cols) <= limit * min(rows, cols)
    ]
    return tuple(sorted(shapes, key=lambda shape: (_lanes(shape), shape[0])))


def _largest(shapes: list[Shape], fits: Callable[[Shape], bool]) -> Shape | None:
    """The shape of most lanes that fits, of equals the one with more rows; None: none does.

    Of shapes of equally many rows those that fit are the narrower ones, so that each height is bisected among the
    shapes that are better than the best so far. Between heights there is no order: long arrays have more accumulators.
    """
    best: Shape | None = None
    for rows in sorted({rows for rows, _ in shapes}, reverse=True):
        better = [one for one in shapes if one[0] == rows and (best is None or _lanes(one) > _lanes(best))]
        if better and fits(better[0]):
            best = _last(better, fits)
    return best


def _lanes(shape: Shape) -> int:
    return shape[0] * shape[1]


def _last(shapes: list[Shape], holds: Callable[[Shape], bool]) -> Shape | None:
    """The last of ``shapes`` for which ``holds``, by bisection, as it holds for all before; None: for none."""
    low, high = -1, len(shapes)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(shapes[middle]) else (low, middle)
    return shapes[low] if low >= 0 else None
