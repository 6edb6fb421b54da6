"""``ChipModel``: a simulated SDR SDRAM that checks every rule of its data sheet, written without the controller's code.

The same rules in C++, for compiled simulations: ``sdram_chip.h``. Both are fed by the edge.
"""

import math
from collections import Counter
from typing import NamedTuple

from hw.memory.chip import SdramChip

__all__ = ["ChipModel", "Pins"]

_NAMES = ("MODE", "REFRESH", "PRECHARGE", "ACTIVATE", "WRITE", "READ", "STOP", "NOTHING")
_MODE, _REFRESH, _PRECHARGE, _ACTIVATE, _WRITE, _READ, _STOP, _NOTHING = range(8)
_ALL = 1 << 10  # A10: all banks; of a read or write: precharge behind it
_LONG_AGO = -(1 << 40)
_SLACK = 1e-6  # ns, and of a clock: 15 ns at 66.666667 MHz are one clock


class Pins(NamedTuple):
    """What the chip sees on an edge; ``command``: RAS, CAS, WE, low when asserted, and 7 without chip select."""

    command: int = _NOTHING
    ba: int = 0
    a: int = 0
    dqm: int = 0
    dq: int | None = None  # None: nobody drives
    cke: int = 1


class _Bank:
    """Edges of the last events of one bank; ``row``: None while it is closed."""

    def __init__(self) -> None:
        self.row: int | None = None
        self.activated = self.closed = self.written = _LONG_AGO


class _Burst:
    """A read or write at work; ``column``: its first, ``done``: beats so far."""

    def __init__(self, bank: int, row: int, column: int, writes: bool):
        self.bank, self.row, self.column, self.writes, self.done = bank, row, column, writes, 0


class ChipModel:
    """Contents are zeros at first; ``data`` holds columns by their number (row, bank, column).

    ``violations``: how often each rule was broken, ``messages``: the first of each rule with its edge.
    A refresh may be late by one interval; longer is a violation.
    """

    def __init__(self, chip: SdramChip, clock_hz: float, cas: int):
        self.chip, self.period_ns, self.expected_cas = chip, 1e9 / clock_hz, cas
        self.data: dict[int, int] = {}
        self.edge = 0
        self.banks = [_Bank() for _ in range(chip.banks)]
        self.commands: Counter[str] = Counter()
        self.violations: Counter[str] = Counter()
        self.messages: list[str] = []
        self._burst, self._cas = 0, 0  # of the mode register; 0: not written
        self._precharged = False
        self._refreshed = self._moded = self._activated = _LONG_AGO
        self._refreshes, self._refresh_from = 0, 0
        self._mask = 0  # of the edge before
        self._driven: dict[int, int] = {}  # read data by the edge that may sample them
        self._work: _Burst | None = None
        self._closing: dict[int, int] = {}  # bank: edge of its precharge behind a burst

    def step(self, pins: Pins) -> int | None:
        """One edge; returns what the chip drives until the next one, None for nothing."""
        now = self.edge
        for bank in [bank for bank, edge in self._closing.items() if edge <= now]:
            self._close(bank, self._closing.pop(bank))
        if not pins.cke and now * self.period_ns >= self.chip.power_up_ns:
            self._broken("cke", "clock enable is low: neither power-down nor self refresh is modelled")
        self._command(pins, now)
        self._beat(pins, now)
        if pins.dq is not None and (now in self._driven or now - 1 in self._driven):
            self._broken("contention", "data are driven while the chip drives, or on the edge behind")
        if (
            self._refresh_from
            and (now - self._refresh_from) * self.period_ns > (self._refreshes + 2) * self.chip.refresh_ns
        ):
            self._broken("refresh", "a refresh is late by more than an interval")
            self._refreshes += 1
        self._driven.pop(now - 1, None)
        out = self._driven.get(now + 1)
        if out is not None:
            out &= ~self._bytes(self._mask)  # the mask of the edge before hides this beat
        self._mask = pins.dqm
        self.edge += 1
        return out

    def _command(self, pins: Pins, now: int) -> None:
        command = pins.command
        if command == _NOTHING:
            return
        self.commands[_NAMES[command]] += 1
        name, chip = _NAMES[command], self.chip
        if now * self.period_ns < chip.power_up_ns:
            self._broken("power up", f"{name} {now * self.period_ns:g} ns after power up")
        self._apart("tMRD", self._moded, chip.mrd_clocks * self.period_ns, name)
        self._apart("tRFC", self._refreshed, chip.rfc_ns, name)
        if command == _ACTIVATE:
            self._activate(pins, now)
        elif command in (_READ, _WRITE):
            self._column(pins, now, command == _WRITE)
        elif command == _PRECHARGE:
            self._precharge(pins, now)
        elif command == _REFRESH:
            self._idle("REFRESH")
            self._refreshed = now
            self._refreshes += 1
        elif command == _MODE:
            self._mode(pins, now)
        else:
            self._broken("illegal command", "burst stop, which is not modelled")

    def _activate(self, pins: Pins, now: int) -> None:
        bank, chip = self.banks[pins.ba], self.chip
        if not self._burst or self.commands["REFRESH"] < chip.init_refreshes:
            self._broken("initialisation", f"ACTIVATE before {chip.init_refreshes} refreshes and the mode register")
        if not self._refresh_from:
            self._refresh_from, self._refreshes = now, 0
        if bank.row is not None:
            self._broken("illegal command", f"ACTIVATE of bank {pins.ba}, whose row {bank.row} is open")
        self._apart("tRC", bank.activated, chip.rc_ns, "ACTIVATE")
        self._apart("tRP", bank.closed, chip.rp_ns, "ACTIVATE")
        self._apart("tRRD", self._activated, chip.rrd_ns, "ACTIVATE")
        if pins.a >= chip.rows:
            self._broken("address", f"row {pins.a} of {chip.rows}")
        bank.row, bank.activated, self._activated = pins.a % chip.rows, now, now

    def _column(self, pins: Pins, now: int, writes: bool) -> None:
        name, bank = "WRITE" if writes else "READ", self.banks[pins.ba]
        if bank.row is None:
            self._broken("illegal command", f"{name} of bank {pins.ba}, which is closed")
            return
        if pins.ba in self._closing:
            self._broken("illegal command", f"{name} of bank {pins.ba}, which closes behind its last burst")
        self._apart("tRCD", bank.activated, self.chip.rcd_ns, name)
        column = pins.a & (_ALL - 1)
        if column >= self.chip.columns:
            self._broken("address", f"column {column} of {self.chip.columns}")
        self._stop(now)
        self._work = _Burst(pins.ba, bank.row, column % self.chip.columns, writes)
        if pins.a & _ALL:
            recovery = math.ceil(self.chip.wr_ns / self.period_ns - _SLACK) - 1 if writes else 0
            open_long = math.ceil(self.chip.ras_ns / self.period_ns - _SLACK)
            self._closing[pins.ba] = max(now + self._burst + recovery, bank.activated + open_long)

    def _stop(self, now: int) -> None:
        """A new burst ends the one at work: its beats from a CAS latency on stay away."""
        if self._work is not None and not self._work.writes:
            for edge in [edge for edge in self._driven if edge >= now + self._cas]:
                del self._driven[edge]
        self._work = None

    def _beat(self, pins: Pins, now: int) -> None:
        """One beat of the burst at work: taken from the pins, or laid on them a CAS latency later."""
        work = self._work
        if work is None:
            if pins.dq is not None:
                self._broken("data", "data are driven, but no write is at work")
            return
        begin = work.column // self._burst * self._burst
        column = begin + (work.column + work.done) % self._burst
        at = (work.row * self.chip.banks + work.bank) * self.chip.columns + column
        if work.writes:
            self._write(pins, at)
            self.banks[work.bank].written = now
        else:
            self._driven[now + self._cas] = self.data.get(at, 0)
        work.done += 1
        if work.done == self._burst:
            self._work = None

    def _write(self, pins: Pins, at: int) -> None:
        kept = self._bytes(pins.dqm)
        if pins.dq is not None:
            self.data[at] = self.data.get(at, 0) & kept | pins.dq & ~kept
        elif kept != self._bytes(-1):
            self._broken("data", "a written beat is not driven")

    def _bytes(self, mask: int) -> int:
        """All bits of the bytes whose bit is set."""
        return sum(0xFF << 8 * byte for byte in range(self.chip.data_bits // 8) if mask >> byte & 1)

    def _precharge(self, pins: Pins, now: int) -> None:
        every = bool(pins.a & _ALL)
        self._precharged |= every
        for number in range(self.chip.banks) if every else [pins.ba]:
            bank = self.banks[number]
            if bank.row is None:
                continue
            self._apart("tRAS", bank.activated, self.chip.ras_ns, "PRECHARGE")
            self._apart("tWR", bank.written, self.chip.wr_ns, "PRECHARGE")
            if self._work is not None and self._work.bank == number:
                self._broken("burst", f"PRECHARGE of bank {number} within its burst")
                self._work = None
            self._close(number, now)

    def _close(self, number: int, edge: int) -> None:
        bank = self.banks[number]
        if (edge - bank.activated) * self.period_ns > self.chip.longest_open_ns:
            self._broken("tRAS max", f"bank {number} was open for {edge - bank.activated} clocks")
        bank.row, bank.closed = None, edge

    def _idle(self, name: str) -> None:
        for number, bank in enumerate(self.banks):
            if bank.row is not None:
                self._broken("illegal command", f"{name} while row {bank.row} of bank {number} is open")
            self._apart("tRP", bank.closed, self.chip.rp_ns, name)
        if not self._precharged:
            self._broken("initialisation", f"{name} before all banks were precharged")

    def _mode(self, pins: Pins, now: int) -> None:
        self._idle("MODE")
        burst, cas = pins.a & 7, pins.a >> 4 & 7
        if burst > 3 or pins.a & ~0x77 or pins.ba or cas != self.expected_cas:
            self._broken(
                "mode", f"mode register {pins.a:#x}, not bursts of 1 to 8 with CAS latency {self.expected_cas}"
            )
        self._burst, self._cas, self._moded = 1 << min(burst, 3), cas, now

    def _apart(self, rule: str, since: int, ns: float, name: str) -> None:
        clocks = self.edge - since
        if clocks * self.period_ns < ns - _SLACK:
            self._broken(rule, f"{name} after {clocks} clocks of {self.period_ns:g} ns, {ns:g} ns must pass")

    def _broken(self, rule: str, what: str) -> None:
        if not self.violations[rule]:
            self.messages.append(f"{rule}: {what} (edge {self.edge})")
        self.violations[rule] += 1
