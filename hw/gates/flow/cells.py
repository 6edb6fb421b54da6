"""Cells of a library in SI units: pins, functions, delay and energy tables, flip-flops, clock gates, leakage."""

from bisect import bisect_right
from dataclasses import dataclass, field

import numpy as np

from hw.errors import InputError

__all__ = ["Cell", "FlipFlop", "Library", "Pin", "PowerArc", "Table", "TimingArc"]


@dataclass(frozen=True)
class Table:
    """NLDM table: ``values[i][j]`` at input slew ``slews[i]`` (s) and load ``loads[j]`` (F); bilinear, extrapolated."""

    slews: tuple[float, ...]
    loads: tuple[float, ...]
    values: tuple[tuple[float, ...], ...]

    def at(self, slew: float, load: float) -> float:
        """The value at one operating point."""
        i, u = _position(self.slews, slew)
        j, v = _position(self.loads, load)
        low = self.values[i]
        if u == 0.0 and v == 0.0:
            return low[j]
        high = self.values[min(i + 1, len(self.slews) - 1)]
        k = min(j + 1, len(self.loads) - 1)
        return (1 - u) * ((1 - v) * low[j] + v * low[k]) + u * ((1 - v) * high[j] + v * high[k])

    def at_each(self, slews: np.ndarray, loads: np.ndarray) -> np.ndarray:
        """The values at many operating points, float64."""
        i, u = _positions(self.slews, slews)
        j, v = _positions(self.loads, loads)
        grid = np.array(self.values)
        h, k = np.minimum(i + 1, len(self.slews) - 1), np.minimum(j + 1, len(self.loads) - 1)
        return (1 - u) * ((1 - v) * grid[i, j] + v * grid[i, k]) + u * ((1 - v) * grid[h, j] + v * grid[h, k])


@dataclass(frozen=True)
class TimingArc:
    """One ``timing`` group: from ``related`` to its pin. Tables are None where the group has none."""

    related: str
    kind: str  # timing_type
    sense: str  # positive_unate, negative_unate, non_unate
    when: str
    rise: Table | None  # delay of a rising output, or constraint of a rising pin
    fall: Table | None
    rise_slew: Table | None
    fall_slew: Table | None


@dataclass(frozen=True)
class PowerArc:
    """One ``internal_power`` group, J per transition; ``related`` is empty for an input pin's own energy."""

    related: str
    when: str
    supply: str
    rise: Table | None
    fall: Table | None


@dataclass(frozen=True)
class Pin:
    """A signal pin; ``capacitance`` in F, ``function`` empty for inputs."""

    name: str
    direction: str
    capacitance: float
    function: str
    timing: tuple[TimingArc, ...]
    power: tuple[PowerArc, ...]
    gating: str  # "clock", "enable", "out" or "test" of a clock-gating cell


@dataclass(frozen=True)
class FlipFlop:
    """The ``ff`` group: state variables, clock and next-state expressions, asynchronous clear and preset."""

    state: str
    inverse: str
    clock: str
    next_state: str
    clear: str
    preset: str


@dataclass(frozen=True)
class Cell:
    """A library cell; area in um^2, leakage in W (mean over its states)."""

    name: str
    area: float
    leakage: float
    pins: dict[str, Pin] = field(hash=False)
    flip_flop: FlipFlop | None
    sequential: bool
    gating: str  # clock_gating_integrated_cell

    @property
    def inputs(self) -> list[str]:
        """Names of the input pins, sorted."""
        return sorted(pin.name for pin in self.pins.values() if pin.direction == "input")

    @property
    def outputs(self) -> list[str]:
        """Names of the output pins, sorted."""
        return sorted(pin.name for pin in self.pins.values() if pin.direction == "output")


@dataclass(frozen=True)
class Library:
    """A cell library at one corner; ``sha256`` identifies the files that it was read from."""

    name: str
    voltage: float
    time_unit: float
    cap_unit: float
    cells: dict[str, Cell] = field(hash=False)
    sha256: str

    def cell(self, name: str) -> Cell:
        """A cell by name.

        Raises:
            InputError: the library lacks it.
        """
        if name not in self.cells:
            raise InputError(f"library {self.name}: needs cell {name!r}, which the Liberty file lacks")
        return self.cells[name]


def _position(axis: tuple[float, ...], x: float) -> tuple[int, float]:
    """Index of the interval that holds ``x`` and the fraction inside it (outside 0..1: extrapolation)."""
    if len(axis) < 2:
        return 0, 0.0
    i = min(max(bisect_right(axis, x) - 1, 0), len(axis) - 2)
    return i, (x - axis[i]) / (axis[i + 1] - axis[i])


def _positions(axis: tuple[float, ...], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """``_position`` of many points."""
    if len(axis) < 2:
        return np.zeros(len(x), dtype=np.int64), np.zeros(len(x))
    knots = np.array(axis)
    i = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(axis) - 2)
    return i, (x - knots[i]) / (knots[i + 1] - knots[i])
