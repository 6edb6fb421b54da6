"""A whole-token machine's link and a memory in Amaranth's simulator, seen by the host program as a serial line."""

from amaranth import Module, ResetInserter, Signal
from amaranth.lib.wiring import Component, connect

from hw.boards.whole.block_memory import BlockMemory
from hw.boards.whole.link import WholeLink
from tests.hw.boards.simulated import GAP_CYCLES, SimulatedLine

_CLOCK_HZ = 4_000  # edges that an answer is waited for: more than a frame with the longest payload takes, which is 2300


def connect_frozen(m: Module, user, memory: BlockMemory, frozen: Signal) -> None:
    """The memory port of ``user``; while ``frozen`` the memory takes nothing, and so gives nothing that is new."""
    for name in ("request", "writes"):
        here, there = getattr(user, name), getattr(memory, name)
        m.d.comb += [
            there.payload.eq(here.payload),
            there.valid.eq(here.valid & ~frozen),
            here.ready.eq(there.ready & ~frozen),
        ]
    connect(m, memory.words, user.words)


class _Board(Component):
    """Link and memory, which may be ``frozen``."""

    def __init__(self, machine, words: int, patience_bits: int):
        self.link = WholeLink(machine, words, _CLOCK_HZ, GAP_CYCLES, patience_bits)
        self.memory = BlockMemory(machine, words)
        self.frozen = Signal()
        super().__init__({})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.link = link = self.link
        m.submodules.memory = memory = ResetInserter(link.reset)(self.memory)
        connect_frozen(m, link, memory, self.frozen)
        m.d.comb += link.memory_ready.eq(memory.ready)
        return m


class MachineLine(SimulatedLine):
    """That of the board; ``freeze``: its memory."""

    clock_hz = _CLOCK_HZ

    def __init__(self, machine, words: int, patience_bits: int = 16):
        self.board = _Board(machine, words, patience_bits)
        self.freeze = False
        super().__init__(self.board, self.board.link)

    def on_edge(self, ctx) -> None:
        ctx.set(self.board.frozen, self.freeze)
