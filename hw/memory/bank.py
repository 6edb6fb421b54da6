"""``Bank``: which row of a bank is open, and from which clock on it may be read, written, closed and opened again."""

from amaranth import Module, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.memory.chip import ChipTiming
from hw.memory.geometry import DECISION_EDGES

__all__ = ["Bank", "Countdown"]


class Countdown:
    """Clocks until something may happen; ``passed``, a register, is high from the first clock on which it may.

    An event that loads ``clocks`` on one edge lets ``passed`` be high on the edge so many clocks later, and the edge
    behind at the earliest.
    """

    def __init__(self, m: Module, longest: int, name: str, after_reset: int = 1):
        self.m, self.left = m, Signal(range(max(2, longest)), name=name, init=after_reset - 1)
        self.passed = Signal(name=f"{name}_passed", init=after_reset <= 1)
        with m.If(~self.passed):
            m.d.sync += [self.left.eq(self.left - 1), self.passed.eq(self.left == 1)]

    def load(self, clocks: int) -> None:
        """Wait so many clocks from this edge on, whatever was waited for."""
        left = max(1, clocks) - 1
        self.m.d.sync += [self.left.eq(left), self.passed.eq(left == 0)]

    def at_least(self, clocks: int) -> None:
        """The same, where no longer wait goes on."""
        with self.m.If(self.left < clocks):
            self.load(clocks)


class Bank(Component):
    """State of one bank; the strobes say what this edge sends to it.

    What it may be is said ``DECISION_EDGES`` ahead: of a command that is sent so much later.

    Members
    -------
    activate, row : open ``row``. read, write : a burst of ``burst`` columns. close : precharge.
    open, open_row : the row that is open. column, precharge, reopen : it may be read or written, closed, opened.
    """

    def __init__(self, timing: ChipTiming, burst: int, rows: int):
        self.timing, self.burst = timing, burst
        super().__init__(
            {
                "activate": In(1),
                "row": In(range(rows)),
                "read": In(1),
                "write": In(1),
                "close": In(1),
                "open": Out(1),
                "open_row": Out(range(rows)),
                "column": Out(1),
                "precharge": Out(1),
                "reopen": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Three countdowns."""
        m = Module()
        timing, burst, ahead = self.timing, self.burst, DECISION_EDGES
        written = burst - 1 + timing.wr
        column = Countdown(m, timing.rcd, "until_column")
        precharge = Countdown(m, max(timing.ras, written, burst), "until_precharge")
        reopen = Countdown(m, timing.rp, "until_reopen")
        m.d.comb += [
            self.column.eq(column.passed),
            self.precharge.eq(precharge.passed),
            self.reopen.eq(reopen.passed),
        ]
        with m.If(self.activate):
            m.d.sync += [self.open.eq(1), self.open_row.eq(self.row)]
            column.load(timing.rcd - ahead)
            precharge.load(timing.ras - ahead)
        with m.Elif(self.close):
            m.d.sync += self.open.eq(0)
            with m.If(self.open):
                reopen.load(timing.rp - ahead)
        with m.Elif(self.write):
            precharge.at_least(written - ahead)
        with m.Elif(self.read):
            precharge.at_least(burst - ahead)
        return m
