"""Streams through queues between two clocks: a packet enters with its GEMM, and a reset by software leaves none."""

from amaranth import Cat, Module, Signal
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import Component, In, Out

__all__ = ["PacketGate"]

_QUIET_EDGES = 3  # of the bus: by then a queue's pointer has come, which takes two


class PacketGate(Component):
    """Opens the entrance of input queues for one packet per GEMM, and empties all queues at a reset by software.

    Domains: ``sync`` is the core's, ``bus`` the bus's. A start crosses as a change of level. A reset crosses as a
    request that the bus acknowledges once it has closed and emptied its side; then the core empties its own. Until
    then no register is written, so that a start cannot come in between.

    Members
    -------
    starts, stops (core) : this edge opens the streams of a GEMM; it resets the core.
    inputs_empty (core) : nothing is left at the end of the input queues. results_empty (bus) : the same of results.
    last_enters (bus) : per stream, the last beat of a packet enters.
    opened (bus) : per stream, beats may enter.
    drop_inputs, stalled (core) : what leaves the input queues is dropped; registers are not written.
    drop_results (bus) : what leaves the queue of results is dropped.
    """

    def __init__(self, streams: int):
        core = {"starts": In(1), "stops": In(1), "inputs_empty": In(1), "drop_inputs": Out(1), "stalled": Out(1)}
        bus = {"last_enters": In(streams), "opened": Out(streams), "results_empty": In(1), "drop_results": Out(1)}
        super().__init__(core | bus)

    def elaborate(self, platform) -> Module:
        """A level for starts, and a handshake of four phases for resets."""
        m = Module()
        level = Signal()
        level_bus = Signal()
        level_seen = Signal()
        asked = Signal()
        asked_bus = Signal()
        answered = Signal()
        answered_core = Signal()
        quiet = Signal(_QUIET_EDGES)
        m.submodules.start_cdc = FFSynchronizer(level, level_bus, o_domain="bus")
        m.submodules.asked_cdc = FFSynchronizer(asked, asked_bus, o_domain="bus")
        m.submodules.answered_cdc = FFSynchronizer(answered, answered_core)
        m.d.sync += level.eq(level ^ self.starts)
        with m.If(self.stops):
            m.d.sync += asked.eq(1)
        with m.Elif(answered_core & self.inputs_empty):
            m.d.sync += asked.eq(0)
        m.d.comb += [self.drop_inputs.eq(asked), self.stalled.eq(asked | answered_core)]

        m.d.comb += self.drop_results.eq(asked_bus)
        m.d.bus += [
            quiet.eq(Cat(asked_bus & self.results_empty, quiet[:-1])),
            answered.eq(asked_bus & (answered | quiet.all())),
        ]
        with m.If(asked_bus | (level_bus != level_seen)):
            m.d.bus += [level_seen.eq(level_bus), self.opened.eq((~asked_bus).replicate(len(self.opened)))]
        with m.Else():
            m.d.bus += self.opened.eq(self.opened & ~self.last_enters)
        return m
