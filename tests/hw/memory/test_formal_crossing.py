"""The crossing between two clocks, proved for every sequence of the stated length after reset.

Every edge is one of the memory's clock; on which of them the machine's clock has an edge too is as free as what comes
and who waits, so that the proofs hold at every ratio, phase and jitter of whole edges. Items carry their number. Faults
that are seeded into the text are found.
"""

from pathlib import Path
from types import ModuleType

import pytest
from amaranth import DomainRenamer, EnableInserter, Module, Signal
from amaranth.lib.wiring import Component, In, Out

import hw.memory.crossing
from tests.hw.gateware.proof import prove
from tests.hw.seeded import Fault

BITS = 4
STEPS = 20  # more than the queue's counts take to wrap


def on_edges(block, tick):
    """``block`` with both domains on one clock, the machine's registers only where ``tick``."""
    return DomainRenamer({"memory": "sync"})(EnableInserter({"sync": tick})(block))


class InOrder(Component):
    """Numbered items come out of a handover or a queue in order, none twice, none left out, none invented."""

    def __init__(self, block: Component, from_sync: bool):
        self.block, self.from_sync = block, from_sync
        super().__init__({"tick": In(1), "put": In(1), "take": In(1), "ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        block = self.block
        m.submodules.block = on_edges(block, self.tick)
        entered, left = Signal(BITS), Signal(BITS)
        puts, takes = (self.tick, 1) if self.from_sync else (1, self.tick)
        m.d.comb += [
            block.input.valid.eq(self.put),
            block.input.payload.eq(entered),
            block.output.ready.eq(self.take),
            self.ok.eq(~(block.output.valid & takes) | ((block.output.payload == left) & (entered != left))),
        ]
        with m.If(block.input.valid & block.input.ready & puts):
            m.d.sync += entered.eq(entered + 1)
        with m.If(block.output.valid & block.output.ready & takes):
            m.d.sync += left.eq(left + 1)
        return m


class Order(Component):
    """A request carries how many writes were taken before it; none is handed over before those are."""

    def __init__(self, crossing: Component):
        self.crossing = crossing
        super().__init__(
            {"tick": In(1), "ask": In(1), "write": In(1), "take_request": In(1), "take_write": In(1), "ok": Out(1)}
        )

    def elaborate(self, platform) -> Module:
        m = Module()
        crossing = self.crossing
        m.submodules.block = on_edges(crossing, self.tick)
        taken, carried = Signal(BITS), Signal(BITS)
        m.d.comb += [
            crossing.request.valid.eq(self.ask),
            crossing.request.payload.address.eq(taken),
            crossing.writes.valid.eq(self.write),
            crossing.inner_request.ready.eq(self.take_request),
            crossing.inner_writes.ready.eq(self.take_write),
            self.ok.eq(~crossing.inner_request.valid | (carried >= crossing.inner_request.payload.address)),
        ]
        with m.If(self.tick & crossing.writes.valid & crossing.writes.ready):
            m.d.sync += taken.eq(taken + 1)
        with m.If(crossing.inner_writes.valid & crossing.inner_writes.ready):
            m.d.sync += carried.eq(carried + 1)
        return m


DESIGNS = {
    "handover": lambda module: InOrder(module.Handover(BITS), True),
    "queue": lambda module: InOrder(module.WordQueue(BITS), False),
    "order": lambda module: Order(module.Crossing(8)),
}
FAULTS = [
    Fault("handover", "~self.closed & (asked == answered)", "~self.closed"),
    Fault("handover", "m.d.sync += answered.eq(done)", "m.d.sync += answered.eq(asked)"),
    Fault("handover", "self.output.valid.eq(seen != done)", "self.output.valid.eq(seen)"),
    Fault("handover", "m.d.memory += done.eq(~done)", "m.d.memory += done.eq(done)"),
    Fault("queue", "0b11 << (place_bits - 1)", "0b01 << (place_bits - 1)"),
    Fault("queue", "filled_gray.eq(more ^ more[1:])", "filled_gray.eq(more)"),
    Fault("queue", "~self.closed & (filled_here != emptied_gray)", "~self.closed"),
    Fault("queue", "read.addr.eq(emptied[:place_bits])", "read.addr.eq(emptied[:1])"),
    Fault("queue", "filled_here.eq(filled_gray)", "filled_here.eq(more ^ more[1:])"),
    Fault("order", "waits = writes.output.valid", "waits = Const(0)"),
]


def crossing_with(fault: Fault | None) -> ModuleType:
    """The room's file, with a fault in it."""
    text = Path(hw.memory.crossing.__file__).read_text(encoding="utf-8")
    module = ModuleType("crossing")
    exec(compile(fault.within(text) if fault else text, "crossing.py", "exec"), module.__dict__)
    return module


@pytest.mark.parametrize("name", DESIGNS)
def test_proved(name, tmp_path):
    prove(DESIGNS[name](crossing_with(None)), tmp_path, STEPS, from_reset=True)


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.new}")
def test_a_fault_is_found(fault, tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(DESIGNS[fault.file](crossing_with(fault)), tmp_path, STEPS, from_reset=True)
