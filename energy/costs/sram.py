"""Buffers from SRAM macros: the cell type of each, what an access and a second of it cost, and its area.

A macro must take a word per clock: a cell type fits where the cycle time of its bank does. ``auto`` is the type of
least leakage that fits; where none does, the fastest one, which is then said.
"""

from typing import NamedTuple

from energy.costs.tables import Cost, SramChoice, SramTable, load_sram
from hw.config import ArrayConfig, SramCell, SramCells
from hw.errors import InputError

__all__ = ["BUFFERS", "Buffer", "buffers_of", "sram_notes"]

BUFFERS = ("weight", "activation", "accumulator")

_NANO = 1e-9
_TOLERANCE = 1e-9  # of a clock period


class Buffer(NamedTuple):
    """One buffer: its capacity, its cell type, and the types that it might have."""

    name: str
    capacity_bytes: float
    cell: SramCell
    choice: SramChoice
    fitting: tuple[SramCell, ...]  # types that keep up with the clock, or the chosen one alone

    @property
    def table(self) -> SramTable:
        """Of the chosen cell type."""
        return load_sram(self.choice.tables[self.cell])

    def bit_energy(self, write: bool) -> Cost:
        """J per bit: banks of the chosen cells; low: of those that fit and take least; high: one undivided array."""
        banked = min(self.capacity_bytes, self.table.bank_bytes)
        chosen = self.table.bit_energy_j(banked, write)
        least = min(load_sram(self.choice.tables[cell]).bit_energy_j(banked, write) for cell in self.fitting)
        whole = self.table.bit_energy_j(self.capacity_bytes, write)
        found = Cost(min(least, chosen), chosen, max(whole, chosen)).scaled(self.choice.factor)
        return found if self.choice.spread is None else found.times(self.choice.spread.ends)

    @property
    def leakage_w(self) -> Cost:
        """W; low: of the cells that fit and leak least; high: of a hot chip."""
        chosen = self.table.leakage_w(self.capacity_bytes)
        least = min(load_sram(self.choice.tables[cell]).leakage_w(self.capacity_bytes) for cell in self.fitting)
        return Cost(least, chosen, chosen * self.table.hot_leakage.value).scaled(self.choice.leakage_factor)

    @property
    def area_mm2(self) -> Cost:
        """At the table's node: banks; from the smaller to the larger of banks and one undivided array."""
        table, capacity = self.table, self.capacity_bytes
        banked = table.area_mm2(table.bank_bytes) * capacity / table.bank_bytes
        whole = table.area_mm2(capacity)
        return Cost(min(banked, whole), banked, max(banked, whole))


def buffers_of(array: ArrayConfig, choice: SramChoice, costs: str, cores: int = 1) -> list[Buffer]:
    """Weight, activation and accumulator buffers; accumulators per core, and none where sums stay in registers.

    ``costs``: name of the cost source, for a refusal.

    Raises:
        InputError: a cell type that misses the clock.
    """
    accumulators = 0.0 if array.structure.outputs_stationary else cores * array.accumulator_buffer_bits / 8
    capacities = {
        "weight": array.weight_buffer_bytes,
        "activation": array.activation_buffer_bytes,
        "accumulator": accumulators,
    }
    return [_buffer(array, name, capacities[name], choice, costs) for name in BUFFERS]


def sram_notes(array: ArrayConfig, choice: SramChoice) -> list[str]:
    """What a reader must know of buffers that no cell type makes fast enough."""
    period_ns = 1 / array.clock_hz / _NANO
    fastest = min(choice.tables, key=lambda cell: _cycle_ns(choice, cell))
    if _cycle_ns(choice, fastest) <= period_ns * (1 + _TOLERANCE):
        return []
    return [
        f"buffers of array {array.name!r}: no SRAM cell type takes a word every {period_ns:g} ns at this node; "
        f"{fastest} does every {_cycle_ns(choice, fastest):.3g} ns and is priced as if it kept up"
    ]


def _buffer(array: ArrayConfig, name: str, capacity_bytes: float, choice: SramChoice, costs: str) -> Buffer:
    wanted: SramCells = getattr(array, f"{name}_cells")
    period_ns = 1 / array.clock_hz / _NANO
    fits = tuple(cell for cell in choice.tables if _cycle_ns(choice, cell) <= period_ns * (1 + _TOLERANCE))
    fastest = min(choice.tables, key=lambda cell: _cycle_ns(choice, cell))
    if wanted == "auto":
        cell = min(fits, key=lambda one: _leakage(choice, one)) if fits else fastest
    elif wanted not in choice.tables:
        raise InputError(
            f"array {array.name!r}: {name}_cells must be auto or one of {', '.join(choice.tables)} with costs "
            f"{costs!r}, not {wanted}"
        )
    elif wanted not in (fits or (fastest,)):
        raise InputError(
            f"array {array.name!r}: {name}_cells must be {' or '.join(fits or (fastest,))} at a clock of "
            f"{period_ns:g} ns, not {wanted}, whose macros take {_cycle_ns(choice, wanted):.3g} ns with costs "
            f"{costs!r}; or lower clock_hz"
        )
    else:
        cell = wanted
    return Buffer(name, capacity_bytes, cell, choice, fits or (cell,))


def _cycle_ns(choice: SramChoice, cell: SramCell) -> float:
    """Of a bank, at the node of the costs."""
    return load_sram(choice.tables[cell]).points[0].cycle_ns * choice.cycle_factor


def _leakage(choice: SramChoice, cell: SramCell) -> float:
    return load_sram(choice.tables[cell]).points[0].leakage_mw
