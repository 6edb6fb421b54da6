"""A bus top whose core has a clock of its own: every channel of the bus crosses through a queue with two clocks.

Ref: C. Cummings, "Simulation and Synthesis Techniques for Asynchronous FIFO Design", SNUG 2002, which the queues of
``amaranth.lib.fifo`` follow.
"""

from collections.abc import Iterable
from typing import Literal, get_args

from amaranth import Cat, ClockDomain, ClockSignal, Module, ResetSignal, Shape, Signal
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.fifo import AsyncFIFO
from amaranth.lib.wiring import Component, In

from hw.errors import InputError
from hw.gateware.bus.axi import AxiCore
from hw.gateware.bus.axi_dma import AxiDmaCore
from hw.gateware.bus.packet_gate import PacketGate

__all__ = ["CORE_CLOCK_PORT", "CoreClock", "SeparateClock", "channels", "check_core_clock"]

CoreClock = Literal["bus", "separate"]  # the core runs on the bus clock, or on one of its own
CORE_CLOCK_PORT = "core_clk"
_DATA_WORDS, _OTHER_WORDS = 16, 4  # of a queue: a burst of data; addresses and answers
_ASLEEP_EDGES = 3  # of the core's clock behind its reset until it says so: queues leave theirs within two
_INPUTS, _RESULTS, _WRITES = ("s_axis_weights_t", "s_axis_activations_t"), "m_axis_results_t", "s_axil_aw"


def check_core_clock(name: str) -> None:
    """Raises InputError unless there is such a choice."""
    if name not in get_args(CoreClock):
        raise InputError(f"core clock must be one of {', '.join(get_args(CoreClock))}, not {name!r}")


def channels(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Channels of a bus by what their ports' names begin with, and of each the ports beside valid and ready."""
    names = tuple(names)
    stems = [name.removesuffix("valid") for name in names if name.endswith("valid")]
    return {
        stem: tuple(name for name in names if name.startswith(stem) and name not in (f"{stem}valid", f"{stem}ready"))
        for stem in stems
    }


class SeparateClock(Component):
    """``top``, built with ``outer_clock``, on the clock ``core_clk``, its bus on ``aclk``: any two clocks.

    Registers and counters stay in the core's clock: a read crosses as a request and comes back as a word, so that none
    is ever seen half changed. ``aresetn``, of the bus clock, resets both sides: the bus opens when the core says that
    it has been reset and runs, and nothing of what was under way is left. A core whose clock stands answers nothing.

    Members
    -------
    the ports of ``top``, and
    core_clk : the core's clock.
    """

    def __init__(self, top: AxiCore | AxiDmaCore):
        self.top = top
        ports = {name: member for name, member in top.signature.members.items() if name not in ("starts", "stops")}
        super().__init__({CORE_CLOCK_PORT: In(1), **ports})

    def elaborate(self, platform) -> Module:
        """The domains of both clocks, and a queue per channel."""
        m = Module()
        m.domains.sync = ClockDomain()
        m.domains.bus = ClockDomain()
        m.submodules.core = top = self.top
        m.d.comb += [ClockSignal("bus").eq(self.aclk), ClockSignal().eq(self.core_clk)]
        opened = self._resets(m)
        found = channels(top.signature.members)
        queues = {stem: self._queue(m, stem, fields) for stem, fields in found.items()}
        gate = self._gate(m, queues) if _RESULTS in queues else None
        for stem in found:
            queue = queues[stem]
            comes = top.signature.members[f"{stem}valid"].flow is In
            source, sink = (self, top) if comes else (top, self)
            enters, leaves, dropped = (opened, 1, 0) if comes else (1, opened, 0)
            if gate and stem in _INPUTS:
                enters, dropped = opened & gate.opened[_INPUTS.index(stem)], gate.drop_inputs
            elif gate and stem == _RESULTS:
                dropped = gate.drop_results
            elif gate and stem == _WRITES:
                leaves = ~gate.stalled
            m.d.comb += [
                queue.w_en.eq(getattr(source, f"{stem}valid") & enters),
                getattr(source, f"{stem}ready").eq(queue.w_rdy & enters),
                getattr(sink, f"{stem}valid").eq(queue.r_rdy & leaves & ~dropped),
                queue.r_en.eq((getattr(sink, f"{stem}ready") & leaves) | dropped),
            ]
        interrupt = Signal()  # a register, as what two registers make may glitch where it is sampled
        m.d.sync += interrupt.eq(top.interrupt)
        interrupt_bus = Signal()
        m.submodules.interrupt_cdc = FFSynchronizer(interrupt, interrupt_bus, o_domain="bus")
        m.d.comb += self.interrupt.eq(interrupt_bus & opened)
        return m

    def _queue(self, m: Module, stem: str, fields: tuple[str, ...]) -> AsyncFIFO:
        """The queue of a channel between the two sides' ports."""
        members = self.top.signature.members
        comes = members[f"{stem}valid"].flow is In
        source, sink = (self, self.top) if comes else (self.top, self)
        domains = ("bus", "sync") if comes else ("sync", "bus")
        queue = AsyncFIFO(
            width=sum(Shape.cast(members[name].shape).width for name in fields),
            depth=_DATA_WORDS if stem.endswith(("_t", "_w", "_r")) else _OTHER_WORDS,
            w_domain=domains[0],
            r_domain=domains[1],
        )
        m.submodules[f"{stem}_queue"] = queue
        m.d.comb += [
            queue.w_data.eq(Cat(getattr(source, name) for name in fields)),
            Cat(getattr(sink, name) for name in fields).eq(queue.r_data),
        ]
        return queue

    def _gate(self, m: Module, queues: dict[str, AsyncFIFO]) -> PacketGate:
        """What keeps packets apart in the queues of the streams."""
        m.submodules.gate = gate = PacketGate(len(_INPUTS))
        passing = (
            getattr(self, f"{stem}valid") & getattr(self, f"{stem}ready") & getattr(self, f"{stem}last")
            for stem in _INPUTS
        )
        m.d.comb += [
            gate.starts.eq(self.top.starts),
            gate.stops.eq(self.top.stops),
            gate.last_enters.eq(Cat(passing)),
            gate.inputs_empty.eq(~Cat(queues[stem].r_rdy for stem in _INPUTS).any()),
            gate.results_empty.eq(~queues[_RESULTS].r_rdy),
        ]
        return gate

    def _resets(self, m: Module) -> Signal:
        """Reset the core until it has seen it, and the queues with it; returns when the bus is open.

        A reset of one edge of the bus is thus enough for a core whose clock is slower.
        """
        m.domains.reset = ClockDomain()
        m.d.comb += [ClockSignal("reset").eq(self.aclk), ResetSignal("reset").eq(~self.aresetn)]
        asked = Signal(init=1)
        opened = Signal()
        core_reset = Signal()
        asleep = Signal(_ASLEEP_EDGES, init=-1, reset_less=True)
        seen = Signal()
        m.submodules.reset_cdc = FFSynchronizer(asked, core_reset, o_domain="sync", init=1)
        m.submodules.asleep_cdc = FFSynchronizer(asleep[-1], seen, o_domain="reset", init=1)
        m.d.comb += [ResetSignal().eq(core_reset), ResetSignal("bus").eq(asked)]
        m.d.sync += asleep.eq(Cat(core_reset, asleep[:-1]))
        with m.If(asked & seen):
            m.d.reset += asked.eq(0)
        with m.Elif(~asked & ~seen):
            m.d.reset += opened.eq(1)
        return opened
