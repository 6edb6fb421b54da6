"""PassEngine: the addresses of a kernel's words, row after row, and the edge on which all of them are done."""

from amaranth import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.whole.datapath import PASS_DEPTH, POWERS_DEPTH, SCAN_DEPTH
from hw.program.machine import MachineConfig

__all__ = ["PassEngine"]


class PassEngine(Component):
    """``rows * words`` issues from the edge behind ``start`` on, one per edge; ``done`` when the last one is.

    A start forgets the pass before it, whose words may still be under way.

    Members
    -------
    start, words, rows : begin; neither is 0. Both stay.
    scan, powers : the words are only scanned, or waited for until their powers are summed up: ``SCAN_DEPTH`` or
        ``POWERS_DEPTH`` edges behind the last, not ``PASS_DEPTH``. They stay.
    issue : this edge issues word ``word`` of row ``row``.
    offset : words from the first of row 0, rows lying one behind the other.
    last : this edge issues the last word.
    done : the last word's results are where they belong.
    """

    def __init__(self, machine: MachineConfig):
        self.machine = machine
        super().__init__(
            {
                "start": In(1),
                "words": In(16),
                "rows": In(8),
                "scan": In(1),
                "powers": In(1),
                "issue": Out(1),
                "word": Out(16),
                "row": Out(8),
                "offset": Out(16),
                "last": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Counters of words, rows, and edges that are left behind the last one."""
        m = Module()
        last_word, last_row = self.word == self.words - 1, self.row == self.rows - 1
        m.d.comb += self.last.eq(self.issue & last_word & last_row)
        with m.If(self.start):
            m.d.sync += [self.issue.eq(1), self.word.eq(0), self.row.eq(0), self.offset.eq(0)]
        with m.Elif(self.issue):
            m.d.sync += [self.word.eq(Mux(last_word, 0, self.word + 1)), self.offset.eq(self.offset + 1)]
            with m.If(last_word):
                m.d.sync += self.row.eq(self.row + 1)
            with m.If(self.last):
                m.d.sync += self.issue.eq(0)
        left = Signal(range(PASS_DEPTH + 1))
        m.d.comb += self.done.eq(left == 1)
        with m.If(self.start):
            m.d.sync += left.eq(0)
        with m.Elif(self.last):
            m.d.sync += left.eq(Mux(self.scan, SCAN_DEPTH, Mux(self.powers, POWERS_DEPTH, PASS_DEPTH)))
        with m.Elif(left != 0):
            m.d.sync += left.eq(left - 1)
        return m
