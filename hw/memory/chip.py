"""``SdramChip``: one SDR SDRAM from its data sheet, and its times in clocks of a controller."""

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, model_validator

from hw.document import Record, load_named, names_in
from hw.errors import InputError

__all__ = ["CHIP_FOLDER", "LONGEST_BURST", "ChipTiming", "SdramChip", "check_ratio", "chip_names", "load_chip"]

CHIP_FOLDER = Path(__file__).parent / "chips"
LONGEST_BURST = 8  # that every chip's mode register knows

Nanoseconds = Annotated[float, Field(gt=0)]
_MOST_RATIO = 8  # of a chip's clock to its machine's
_CHOICE = 3  # edges on which a controller looks a command up, finds and sends it
_SLACK = 1e-9  # of a clock: 15 ns at 66.666667 MHz are one clock


class ChipTiming(NamedTuple):
    """Clocks from one command to the next that it allows; ``refresh``: between refreshes, at most."""

    cas: int  # from a read to its first data
    rcd: int  # activate to read or write
    rp: int  # precharge to activate
    ras: int  # activate to precharge
    rc: int  # activate to activate of the same bank
    rrd: int  # activate to activate of another bank
    wr: int  # last written data to precharge
    rfc: int  # refresh to activate or refresh
    mrd: int  # mode register to any command
    refresh: int
    power_up: int  # until the first command


class SdramChip(Record):
    """A chip: its size, and its times in ns. Rows, columns and banks are powers of two; a column is ``data_bits``."""

    file_schema: ClassVar[str | None] = "tritforge.sdram.1"

    name: str
    source: str
    data_bits: Literal[8, 16, 32]
    banks: Literal[2, 4]
    rows: Annotated[int, Field(ge=16, le=8192)]
    columns: Annotated[int, Field(ge=16, le=1024)]  # 2048 would need an address bit beyond A10
    cas2_clock_hz: Annotated[float, Field(gt=0)]  # fastest clock of CAS latency 2
    cas3_clock_hz: Annotated[float, Field(gt=0)]
    rcd_ns: Nanoseconds
    rp_ns: Nanoseconds
    ras_ns: Nanoseconds
    rc_ns: Nanoseconds
    rrd_ns: Nanoseconds
    wr_ns: Nanoseconds
    rfc_ns: Nanoseconds
    mrd_clocks: Annotated[int, Field(ge=1, le=8)] = 2
    refresh_ns: Nanoseconds  # average time between refreshes
    power_up_ns: Nanoseconds
    init_refreshes: Annotated[int, Field(ge=2, le=16)]
    longest_open_ns: Nanoseconds = 100_000  # tRAS max

    @model_validator(mode="after")
    def _powers_of_two(self) -> Self:
        for field in ("rows", "columns"):
            value = getattr(self, field)
            if value & (value - 1):
                raise ValueError(f"{field} must be a power of two, not {value}")
        return self

    @property
    def bytes(self) -> int:
        """Capacity."""
        return self.banks * self.rows * self.columns * self.data_bits // 8

    @property
    def address_bits(self) -> int:
        """Address pins: of a row, and at least A10, which precharges all banks."""
        return max(11, self.rows.bit_length() - 1)

    def timing(self, clock_hz: float, cas: int | None = None) -> ChipTiming:
        """Its times at a clock, with the least CAS latency that the clock allows, or with that one.

        Raises:
            InputError: a clock that the chip does not reach, with that latency or any; a latency other than 2 and 3.
        """
        limits = {2: self.cas2_clock_hz, 3: self.cas3_clock_hz}
        if cas is not None and cas not in limits:
            raise InputError(f"CAS latency must be 2 or 3, not {cas}")
        fitting = [latency for latency in (limits if cas is None else [cas]) if clock_hz <= limits[latency]]
        if clock_hz <= 0 or not fitting:
            latency = f" with CAS latency {cas}" if cas else ""
            fastest = f"{limits[cas or 3] / 1e6:g} MHz"
            raise InputError(
                f"clock of {self.name}{latency} must be above 0 and at most {fastest}, not {clock_hz / 1e6:g} MHz"
            )
        rp, ras, rc = (self._clocks(ns, clock_hz) for ns in (self.rp_ns, self.ras_ns, self.rc_ns))
        rcd, wr, rfc = (self._clocks(ns, clock_hz) for ns in (self.rcd_ns, self.wr_ns, self.rfc_ns))
        refresh = math.floor(self.refresh_ns * clock_hz / 1e9 + _SLACK)
        burst = max(rcd, _CHOICE) + max(ras, LONGEST_BURST + wr) + _CHOICE  # its row opened, and it carried out
        if refresh < max(4 * (rp + rfc), rp + rfc + burst):
            raise InputError(f"clock of {self.name} must leave time between refreshes, not be {clock_hz / 1e6:g} MHz")
        return ChipTiming(
            cas=fitting[0],
            rcd=rcd,
            rp=rp,
            ras=max(ras, rc - rp),  # activate to activate then holds by itself
            rc=rc,
            rrd=self._clocks(self.rrd_ns, clock_hz),
            wr=wr,
            rfc=rfc,
            mrd=self.mrd_clocks,
            refresh=refresh,
            power_up=self._clocks(self.power_up_ns, clock_hz),
        )

    @staticmethod
    def _clocks(ns: float, clock_hz: float) -> int:
        return max(1, math.ceil(ns * clock_hz / 1e9 - _SLACK))


def check_ratio(name: str, chip: SdramChip, clock_hz: float, ratio: int) -> None:
    """Refuse a chip's clock of ``ratio`` times ``clock_hz``, the machine's; ``name``: the option that says it.

    Raises:
        InputError: a ratio that no clocks have here, or with which the chip does not keep up.
    """
    if not 1 <= ratio <= _MOST_RATIO:
        raise InputError(f"{name}: memory clock must be 1 to {_MOST_RATIO} times the machine's, not {ratio}")
    try:
        chip.timing(ratio * clock_hz)
    except InputError as error:
        if ratio == 1:
            raise
        most = int(chip.cas3_clock_hz // clock_hz)
        way = "a faster clock" if ratio <= most else f"{most} times or less" if most else "a slower clock"
        raise InputError(f"{name}: {error}, {ratio} times the machine's {clock_hz / 1e6:g} MHz: take {way}") from None


def chip_names() -> list[str]:
    """Names of the chips that ship with the project."""
    return names_in(CHIP_FOLDER)


def load_chip(name: str, others: Iterable[str] = ()) -> SdramChip:
    """A shipped chip by name, or a ``.yaml`` file.

    ``others``: what else the caller knows, of which an unknown name may be meant.

    Raises:
        InputError: unknown name (the known ones are listed), or a faulty file.
    """
    return load_named(name, CHIP_FOLDER, SdramChip, "chip", others)
