"""``Target``: how the bank of a burst stands, looked up an edge behind every change."""

from collections.abc import Sequence

from amaranth import Array, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.whole.ports import log2
from hw.memory.bank import Bank

__all__ = ["Target"]

_FOUND = ("known", "hit", "other", "closed")


class Target(Component):
    """Registers between a burst's address and the choice of a command: its bank's row is compared an edge ahead.

    Members
    -------
    bank, row : of the burst.
    changed : this edge changes them or the row of a bank; what is looked up on it does not count.
    takes_over : they become those of ``following``, and so does what it knows.
    known : the three behind it count. hit : the row is open. other : another one is. closed : none is.
    """

    def __init__(self, banks: Sequence[Bank], rows: int):
        self.banks, self.following = banks, self
        super().__init__(
            {
                "bank": In(log2(len(banks))),
                "row": In(log2(rows)),
                "changed": In(1),
                "takes_over": In(1),
                "known": Out(1),
                "hit": Out(1),
                "other": Out(1),
                "closed": Out(1),
            }
        )

    def of_bank(self, member: str) -> Value:
        """A member of its bank."""
        return Array([getattr(bank, member) for bank in self.banks])[self.bank]

    def elaborate(self, platform) -> Module:
        """Two multiplexers and a comparison."""
        m = Module()
        same, is_open = Signal(), Signal()
        m.d.comb += [same.eq(self.of_bank("open_row") == self.row), is_open.eq(self.of_bank("open"))]
        m.d.sync += [
            self.known.eq(~self.changed),
            self.hit.eq(is_open & same),
            self.other.eq(is_open & ~same),
            self.closed.eq(~is_open),
        ]
        with m.If(self.takes_over):
            m.d.sync += [getattr(self, name).eq(getattr(self.following, name)) for name in _FOUND]
        return m
