"""DDR3 chips by name, each a class of ``litedram.modules``, and what their mode registers hold."""

from typing import NamedTuple

from hw.errors import InputError, did_you_mean

__all__ = [
    "BEATS",
    "CAS",
    "CAS_WRITE",
    "DDR3_CHIPS",
    "PHASES",
    "Ddr3Chip",
    "ModeRegister",
    "Skew",
    "check_clock",
    "load_ddr3",
    "mode_registers",
]

BEATS = 8  # of a burst; the only length here
PHASES = 2  # commands per clock cycle of the controller: the chip's clock is twice as fast
CAS, CAS_WRITE = 6, 5  # clocks; JESD79-3F, table of CL and CWL: the only pair of the slowest speed bin

_CLOCKS_HZ = (24e6, 100e6)  # of the controller; below, LiteDRAM has no time for its refreshes; above, ECP5DDRPHY ends

_DLL_RESET, _WRITE_RECOVERY_5 = 1 << 8, 0b001 << 9  # of MR0. Ref: JESD79-3F, 3.4.2
_DRIVE_34_OHM = 0b1 << 1  # of MR1; no nominal termination, as on the board whose design is known to run
_TERMINATED_WRITES_60_OHM = 0b01 << 9  # of MR2

Skew = tuple[int, int, int]  # of a simulated byte: the bit slip that it needs, the first and the last good read delay


class Ddr3Chip(NamedTuple):
    """A chip of 16 data pins with eight banks of 1024 columns."""

    name: str
    litedram: str  # class of litedram.modules, which has its times
    rows: int
    banks: int = 8
    columns: int = 1024
    data_bits: int = 16

    @property
    def bytes(self) -> int:
        """Capacity."""
        return self.rows * self.banks * self.columns * self.data_bits // 8

    @property
    def burst_bits(self) -> int:
        """Data of a command, which is also the width of the controller's port."""
        return BEATS * self.data_bits

    @property
    def address_bits(self) -> int:
        """Of a burst, as the controller's port counts them."""
        return (self.bytes * 8 // self.burst_bits - 1).bit_length()

    @property
    def row_bits(self) -> int:
        """Address pins."""
        return (self.rows - 1).bit_length()


class ModeRegister(NamedTuple):
    """A mode register and what is written to it."""

    number: int
    value: int


DDR3_CHIPS = {
    chip.name: chip
    for chip in (
        Ddr3Chip("mt41k64m16", "MT41K64M16", 1 << 13),
        Ddr3Chip("mt41k128m16", "MT41K128M16", 1 << 14),
        Ddr3Chip("mt41k256m16", "MT41K256M16", 1 << 15),
        Ddr3Chip("mt41k512m16", "MT41K512M16", 1 << 16),
    )
}


def load_ddr3(name: str) -> Ddr3Chip:
    """The chip called ``name``.

    Raises:
        InputError: an unknown name; the known ones are listed.
    """
    if name not in DDR3_CHIPS:
        raise InputError(
            f"DDR3 chip must be one of {', '.join(DDR3_CHIPS)}, not {name!r}{did_you_mean(name, DDR3_CHIPS)}"
        )
    return DDR3_CHIPS[name]


def check_clock(clock_hz: float) -> None:
    """Whether controller and PHY can run at ``clock_hz``, half of the chip's clock.

    Raises:
        InputError: they cannot.
    """
    low, high = _CLOCKS_HZ
    if not low <= clock_hz <= high:
        raise InputError(
            f"clock of a DDR3 controller must be {low / 1e6:g} to {high / 1e6:g} MHz, not {clock_hz / 1e6:g} MHz"
        )


def mode_registers() -> tuple[ModeRegister, ...]:
    """In the order of the initialisation. Ref: JESD79-3F, 3.3.1 and 3.4.

    Bursts of eight, CAS latency ``CAS``, the DLL on and reset, five clocks of write recovery, a driver of 34 ohm,
    writes terminated by 60 ohm.
    """
    return (
        ModeRegister(2, (CAS_WRITE - 5) << 3 | _TERMINATED_WRITES_60_OHM),
        ModeRegister(3, 0),
        ModeRegister(1, _DRIVE_34_OHM),
        ModeRegister(0, (CAS - 4) << 4 | _DLL_RESET | _WRITE_RECOVERY_5),
    )
