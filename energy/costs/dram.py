"""DRAM: energy of bits and rows, power of standby and refresh, from the currents of data sheets.

Of one chip (one channel of an HBM stack), summed over its supplies; t are times, I currents of JEDEC's loops:

  burst      V (IDD4 - IDD3N) / rate                                              J per bit
  row        V (IDD0 tRC - IDD3N tRAS - IDD2N (tRC - tRAS))                        J per activate and precharge
  open       V IDD3N      closed  V IDD2N      power-down  V IDD2P                 W
  refresh    V (IDD5 - IDD2N) tRFC / tREFI                                         W

Ref: Micron TN-41-01, Calculating Memory System Power for DDR3.
"""

from functools import cache
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
from pydantic import Field

from energy.costs.tables import TECH_FOLDER, Cost, Kind, Share
from hw.document import Record, load_document
from hw.errors import InputError
from sim.counts import ActionCounts
from sim.memory import MemoryConfig

__all__ = ["DRAM_PARTS", "DramPower", "dram_energy", "dram_power", "load_dram"]

DRAM_PARTS = ("dram", "dram_rows", "dram_standby", "dram_refresh")

_FILE = TECH_FOLDER / "dram" / "standards.yaml"
_MILLI, _NANO, _PICO = 1e-3, 1e-9, 1e-12

Current = Annotated[float, Field(ge=0)]  # mA
Positive = Annotated[float, Field(gt=0)]


class Supply(Record):
    """Currents of one supply in JEDEC's loops, mA."""

    volts: Positive
    IDD0: Current  # one bank opened and closed
    IDD2P: Current  # rows closed, clock disabled
    IDD2N: Current  # rows closed
    IDD3N: Current  # rows open
    IDD4R: Current  # reads without a gap
    IDD4W: Current
    IDD5: Current  # refresh without a gap


class Times(Record):
    """At which the loops ran, ns."""

    tRAS: Positive
    tRC: Positive
    tRFC: Positive
    tREFI: Positive


class Total(Record):
    """What somebody else gives for a bit, everything in one figure."""

    pj_per_bit: Positive
    what: str


class Standard(Record):
    """A chip of one standard."""

    kind: Kind
    source: str
    guard_banded: bool  # maxima of a data sheet; false: measured or typical
    row_bytes: Annotated[int, Field(ge=1)]
    rate_bits_per_s: Positive  # of the loops IDD4R and IDD4W
    times_ns: Times
    supplies: Annotated[list[Supply], Field(min_length=1)]
    activate_nj: Share | None = None  # instead of what IDD0 gives
    interface: Share  # pJ per bit
    totals: list[Total]

    def watts(self, current: str) -> float:
        """A loop's power over all supplies, W."""
        return sum(supply.volts * getattr(supply, current) for supply in self.supplies) * _MILLI


class MeasuredShares(Record):
    """What chips draw of what their data sheets say, by loop."""

    standby: Share
    closed: Share
    power_down: Share
    activate: Share
    read: Share
    write: Share
    refresh: Share


class DramTable(Record):
    """All standards."""

    file_schema: ClassVar[str | None] = "tritforge.dram-costs.2"

    name: str
    note: str
    measured: MeasuredShares
    spread: Share
    rows_opened: Share
    standards: dict[str, Standard]

    def standard(self, name: str) -> Standard:
        """The standard called ``name``.

        Raises:
            InputError: one that the table does not have.
        """
        if name not in self.standards:
            raise InputError(f"memory standard must be one of {', '.join(self.standards)}, not {name!r}")
        return self.standards[name]


class DramPower(NamedTuple):
    """What one chip takes: J per bit or row, W."""

    read_bit: Cost
    write_bit: Cost
    row: Cost
    open_w: Cost  # while bits move
    idle_w: Cost  # low: powered down; typical: rows closed; high: rows open
    refresh_w: Cost


@cache
def load_dram() -> DramTable:
    """The DRAM table."""
    return load_document(_FILE, DramTable)


@cache
def dram_power(standard: str) -> DramPower:
    """Figures of a chip of ``standard``.

    Raises:
        InputError: a standard that the table does not have.
    """
    table = load_dram()
    chip, shares = table.standard(standard), table.measured
    times = chip.times_ns

    def drawn(watts: float, name: str) -> Cost:
        """Low, typical and high of what a data sheet, or a measurement, says."""
        share = getattr(shares, name) if chip.guard_banded else table.spread
        return share.ends.scaled(watts)

    rows_open, closed = drawn(chip.watts("IDD3N"), "standby"), drawn(chip.watts("IDD2N"), "closed")
    rows_open = Cost(*map(max, rows_open, closed))  # an open row takes no power away
    row = _NANO * (
        chip.watts("IDD0") * times.tRC
        - chip.watts("IDD3N") * times.tRAS
        - chip.watts("IDD2N") * (times.tRC - times.tRAS)
    )
    bursts = [(chip.watts(loop) - chip.watts("IDD3N")) / chip.rate_bits_per_s for loop in ("IDD4R", "IDD4W")]
    interface = chip.interface.ends.scaled(_PICO)
    return DramPower(
        read_bit=drawn(bursts[0], "read") + interface,
        write_bit=drawn(bursts[1], "write") + interface,
        row=drawn(row, "activate") if chip.activate_nj is None else chip.activate_nj.ends.scaled(_NANO),
        open_w=rows_open,
        idle_w=Cost(drawn(chip.watts("IDD2P"), "power_down").low, closed.typical, rows_open.high),
        refresh_w=drawn((chip.watts("IDD5") - chip.watts("IDD2N")) * times.tRFC / times.tREFI, "refresh"),
    )


def dram_energy(memory: MemoryConfig, counts: ActionCounts, seconds: float) -> dict[str, Cost]:
    """The four parts of what ``memory`` takes in ``seconds`` in which it moves the bits of ``counts``, J.

    Its chips have open rows while bits move. Streams are sequential: a row's worth of bits opens one row or somewhat
    more.

    Raises:
        InputError: a standard without energy figures.
    """
    table, power = load_dram(), dram_power(memory.standard)
    read, written = counts.dram_read_bits, counts.dram_write_bits
    busy = np.minimum(seconds, (read + memory.write_cost * written) / 8 / memory.bytes_per_s)
    rows = (read + written) / 8 / table.standard(memory.standard).row_bytes
    chips = chip_count(memory)
    return {
        "dram": power.read_bit.scaled(read) + power.write_bit.scaled(written),
        "dram_rows": power.row.times(table.rows_opened.ends).scaled(rows),
        "dram_standby": (power.open_w.scaled(busy) + power.idle_w.scaled(seconds - busy)).scaled(chips),
        "dram_refresh": power.refresh_w.scaled(seconds * chips),
    }


def chip_count(memory: MemoryConfig) -> int:
    """Chips of all channels: as many in each as share its rows; one where the memory describes no banks."""
    if memory.dram is None:
        return memory.channels
    row_bytes = memory.dram.bursts_per_row * memory.burst_bytes
    return memory.channels * max(1, row_bytes // load_dram().standard(memory.standard).row_bytes)
