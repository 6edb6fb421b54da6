"""Proofs over every sequence of requests, writes and held-back words of the stated length after reset.

The rules of the chip are written a third time, as counters beside the controller; no data are looked at. Each proof has
a mutated copy whose fault must be found.
"""

import pytest
from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.memory.controller import SdramController
from hw.memory.pins import ACTIVATE, MODE, NOTHING, PRECHARGE, READ, REFRESH, WRITE
from hw.memory.words import Gatherer
from tests.hw.gateware.proof import prove
from tests.hw.memory.bench import tiny

# 10 ns: tRCD 4, tRP 4, tRAS 5, tRC 9, tRRD 4, tWR 2, tRFC 3, longer than a command takes to be found again; the
# initialisation takes 15 edges, a refresh comes in 28
SMALL = tiny(
    data_bits=8, banks=2, columns=16, rcd_ns=40, rp_ns=40, ras_ns=50, rc_ns=90, rrd_ns=40, wr_ns=20, rfc_ns=30,
    mrd_clocks=3, refresh_ns=280, power_up_ns=10,
)  # fmt: skip
STEPS = 37  # the initialisation and 22 edges of traffic
LONG = 15  # where a counter of edges stays


class Rules(Component):
    """A controller and the rules of its chip; words of two beats."""

    def __init__(self, fault: dict[str, int] | None = None):
        self.fault = fault or {}
        super().__init__(
            {
                "ask": In(1), "bank": In(1), "row": In(1), "many": In(1), "take": In(1), "write": In(1), "ok": Out(1),
            }
        )  # fmt: skip

    def elaborate(self, platform) -> Module:
        m = Module()
        controller = SdramController(SMALL, 100e6, 16)
        true = controller.timing
        controller.timing = true._replace(**self.fault)
        m.submodules.controller = controller
        pins, burst = controller.pins, controller.geometry.burst
        address = Cat(0, 0, 0, self.bank, self.row)  # eight bursts a row
        m.d.comb += [
            controller.request.valid.eq(self.ask),
            controller.request.payload.address.eq(address),
            controller.request.payload.count.eq(Mux(self.many, 9, 1)),
            controller.writes.valid.eq(self.write),
            controller.writes.payload.address.eq(address),
            controller.words.ready.eq(self.take),
        ]
        good, command = [], pins.command
        opened = [Signal(name=f"open{i}") for i in range(SMALL.banks)]

        def since(event, name):
            edges = Signal(4, name=name, init=LONG)
            m.d.sync += edges.eq(Mux(event, 1, Mux(edges == LONG, LONG, edges + 1)))
            return edges

        everything = command == NOTHING
        closing = [(command == PRECHARGE) & (pins.a[10] | (pins.ba == i)) for i in range(SMALL.banks)]
        activating = [(command == ACTIVATE) & (pins.ba == i) for i in range(SMALL.banks)]
        any_activate = since(command == ACTIVATE, "activate")
        refreshed, moded = since(command == REFRESH, "refresh"), since(command == MODE, "mode")
        good += [everything | (refreshed >= true.rfc), everything | (moded >= true.mrd)]
        for i in range(SMALL.banks):
            activated, closed = since(activating[i], f"activate{i}"), since(closing[i] & opened[i], f"close{i}")
            column = ((command == READ) | (command == WRITE)) & (pins.ba == i)
            read = since((command == READ) & (pins.ba == i), f"read{i}")
            written = since((command == WRITE) & (pins.ba == i), f"write{i}")
            with m.If(activating[i]):
                m.d.sync += opened[i].eq(1)
            with m.Elif(closing[i]):
                m.d.sync += opened[i].eq(0)
            idle = (command == REFRESH) | (command == MODE)
            good += [
                ~activating[i] | (~opened[i] & (closed >= true.rp) & (activated >= true.rc)),
                ~activating[i] | (any_activate >= true.rrd),
                ~column | (opened[i] & (activated >= true.rcd)),
                ~(closing[i] & opened[i])
                | ((activated >= true.ras) & (written >= burst - 1 + true.wr) & (read >= burst)),
                ~idle | (~opened[i] & (closed >= true.rp)),
            ]
        read, write = since(command == READ, "read"), since(command == WRITE, "write")
        reads, writes = command == READ, command == WRITE
        good += [
            ~(reads | writes) | ((write >= burst) & (~reads | (read >= burst))),
            ~writes | (read >= true.cas + burst + 1),
            pins.dq_oe == (writes | (write < burst)),
        ]
        m.d.comb += self.ok.eq(Cat(good).all())
        return m


@pytest.mark.slow
def test_no_sequence_of_requests_breaks_a_rule(tmp_path):
    prove(Rules(), tmp_path, STEPS, from_reset=True)


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["rcd", "rp", "ras", "wr", "rfc", "mrd", "cas"])
def test_a_time_that_is_a_clock_short_is_found(fault, tmp_path):
    short = {fault: SMALL.timing(100e6)._asdict()[fault] - 1}
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(Rules(short), tmp_path, STEPS, from_reset=True)


class Slots(Component):
    """A gatherer whose reads keep to ``room``: words that are owed or wait are never more than the queue holds."""

    def __init__(self, slots: int, depth: int = 2):
        self.slots, self.depth = slots, depth
        super().__init__({"ask": In(1), "take": In(1), "ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.gatherer = gatherer = Gatherer(16, 8, 2, 3, self.slots)
        busy, owed = Signal(), Signal(4)
        m.d.comb += [
            gatherer.read.eq(self.ask & gatherer.room & ~busy),
            gatherer.claim.eq(gatherer.read),
            gatherer.words.ready.eq(self.take),
            self.ok.eq((owed <= self.depth) & (~gatherer.words.valid | (owed != 0))),
        ]
        m.d.sync += [
            busy.eq(gatherer.read),
            owed.eq(owed + gatherer.read - (gatherer.words.valid & gatherer.words.ready)),
        ]
        return m


def test_reads_ahead_are_never_more_than_the_queue_holds(tmp_path):
    prove(Slots(2), tmp_path, 20, from_reset=True)


def test_a_queue_that_promises_more_is_found(tmp_path):
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(Slots(4), tmp_path, 20, from_reset=True)
