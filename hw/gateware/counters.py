"""Cycle counters: every edge of a GEMM has one cause, as ``docs/architecture.md`` defines them."""

from amaranth import Module, Signal
from amaranth.lib.wiring import Component, In, Out, Signature

__all__ = ["CAUSES", "COUNTER_BITS", "CounterPorts", "Counters"]

COUNTER_BITS = 40

CAUSES = ("ideal", "fill_drain", "weight_stall", "input_stall", "output_stall")

CounterPorts = Signature({name: Out(COUNTER_BITS) for name in ("cycles", *CAUSES)})


class Counters(Component):
    """Cycles of the latest GEMM, whole and by cause; they keep their values until the next one starts.

    Members
    -------
    start : edge 0, which is not counted itself.
    running : the edges that are counted.
    issue, weight_accepted, shadow_full, active, all_issued : what the sequencer does on this edge.
    credit_missing : the active tile needs a credit and none is free.
    restarting : nothing is issued between two column tiles of a grid.
    result_blocked : a result is valid and not ready.
    counters : ``cycles`` and one per cause; the causes sum to the cycles.
    """

    def __init__(self):
        flags = ("start", "running", "issue", "weight_accepted", "shadow_full", "active", "all_issued")
        waits = ("credit_missing", "restarting", "result_blocked")
        super().__init__({name: In(1) for name in (*flags, *waits)} | {"counters": Out(CounterPorts)})

    def elaborate(self, platform) -> Module:
        """Classify the edge, then count one cause and the cycle."""
        m = Module()
        swapped = Signal()  # a tile of this GEMM has been active
        with m.If(self.start):
            m.d.sync += swapped.eq(0)
        with m.Elif(self.active):
            m.d.sync += swapped.eq(1)

        waiting = ~self.issue & ~self.all_issued  # for weights, activations or a credit
        idle = waiting & ~self.active
        filling = ~swapped & (self.shadow_full | self.weight_accepted)
        draining = ~self.issue & self.all_issued
        held = waiting & self.active & ~self.restarting
        cause = {
            "ideal": self.issue,
            "fill_drain": (draining & ~self.result_blocked) | (idle & filling) | (waiting & self.active & ~held),
            "weight_stall": idle & ~filling,
            "input_stall": held & ~self.credit_missing,
            "output_stall": (draining & self.result_blocked) | (held & self.credit_missing),
        }
        started = Signal()  # edge 1: what was counted before ends here, not with the late ``start``
        m.d.sync += started.eq(self.start)
        for name, counts in {"cycles": 1, **cause}.items():
            counter = getattr(self.counters, name)
            with m.If(started):
                m.d.sync += counter.eq(self.running & counts)
            with m.Elif(self.running & counts):
                m.d.sync += counter.eq(counter + 1)
        return m
