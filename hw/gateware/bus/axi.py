"""The core as an AXI peripheral: AXI4-Stream data, AXI4-Lite registers, one interrupt."""

from amaranth import Cat, ClockDomain, ClockSignal, Const, Module, ResetInserter, ResetSignal, Signal, Value
from amaranth.lib.wiring import Component, In, Member, Out

from hw.arithmetic.adders import Cells
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.formats import SIZE_BITS
from hw.gateware.bus.axi_lite import AxiLiteRegisters, address_bits, axi_lite_members
from hw.gateware.bus.register_map import (
    CONTROL_BITS,
    DMA_REGISTERS,
    FORMAT_BITS,
    IDENTITY,
    REGISTERS,
    SCALES,
    STATUS_BITS,
)
from hw.gateware.bus.register_slice import RegisterSlice
from hw.gateware.core import Core
from hw.gateware.counters import CAUSES, COUNTER_BITS
from hw.gateware.ports import format_fields, results_layout
from hw.gateware.sequencer import Status

__all__ = [
    "CONTROL_BITS",
    "FORMAT_BITS",
    "IDENTITY",
    "REGISTERS",
    "SCALES",
    "STATUS_BITS",
    "AxiCore",
    "axi_ports",
    "beat_bytes",
    "result_bits",
]

_SUM_BITS = 32  # each sum, sign-extended

_SIZES = ("m", "n", "k")


def result_bits(config: ArrayConfig) -> int:
    """Bits of one value in a result beat: an int8, or a sum sign-extended."""
    return 8 if config.results == "int8" else _SUM_BITS


def beat_bytes(config: ArrayConfig) -> dict[str, int]:
    """Bytes of a beat of each stream, by its name."""
    results = result_bits(config) // 8 * results_layout(config).length
    return {"weights": config.weight_bus_bits // 8, "activations": config.rows, "results": results}


def axi_ports(config: ArrayConfig) -> dict[str, Member]:
    """Ports of the AXI top by name, in the order of its groups."""
    bits = {name: 8 * size for name, size in beat_bytes(config).items()}
    return (
        {"aclk": In(1), "aresetn": In(1), "interrupt": Out(1)}
        | axi_lite_members(address_bits(len(REGISTERS)), "s_axil_")
        | _stream("s_axis_weights", In, Out, bits["weights"])
        | _stream("s_axis_activations", In, Out, bits["activations"])
        | _stream("m_axis_results", Out, In, bits["results"])
    )


class AxiCore(Component):
    """``Core`` behind stock bus ports; ``aclk``, ``aresetn`` as AXI has them. Every output is a function of registers.

    An input stream is open from the start of a GEMM to its TLAST: what a DMA engine holds for the next one stays there.

    Members
    -------
    s_axil : registers, see ``REGISTERS``.
    s_axis_weights : bus words, TLAST with the last of the GEMM; TKEEP must be all ones.
    s_axis_activations : vectors, the same.
    m_axis_results : ``cols`` sums of 32 bits or int8 (and the sum of the activations), TLAST with the last of the GEMM;
        TKEEP is all ones.
    interrupt : high while done and enabled.
    With ``dma`` also registers of engines around it, and what they say. With ``outer_clock`` the domain ``sync`` is
    that of the top around it, and ``aclk`` and ``aresetn`` are not read. With either, ``starts``, ``stops``: this edge
    opens the streams of a GEMM; it resets the core by software.

    Raises
    ------
    InputError
        ``config`` is not a ternary array, or its accumulators are wider than a result.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable", dma: bool = False, outer_clock: bool = False):
        if config.accumulator_bits > _SUM_BITS:
            raise InputError(
                f"array {config.name!r}: accumulator_bits must be at most {_SUM_BITS} behind AXI, "
                f"not {config.accumulator_bits}"
            )
        self.config, self.core, self.outer_clock = config, Core(config, cells), outer_clock
        self.names = DMA_REGISTERS if dma else REGISTERS
        self.registers = AxiLiteRegisters(len(self.names))
        self.dma = DMA_REGISTERS[len(REGISTERS) : -1] if dma else ()  # of the engines, that software writes
        members = axi_ports(config) | (_engine_ports(self.dma) if dma else {})
        self.events = {"starts": Out(1), "stops": Out(1)} if dma or outer_clock else {}
        super().__init__(members | self.events)

    def elaborate(self, platform) -> Module:
        """Clock domain, register file, control, streams."""
        m = Module()
        if not self.outer_clock:
            m.domains.sync = ClockDomain()
            m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.registers = registers = self.registers
        for name, member in axi_lite_members(registers.address_bits).items():
            inner, outer = getattr(registers, name), getattr(self, f"s_axil_{name}")
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)

        reset = Signal()
        halted = Signal()
        m.submodules.core = ResetInserter(reset)(self.core)
        flags = {name: Signal(name=name) for name in STATUS_BITS}
        words = {name: Signal(32, name=name) for name in (*_SIZES, "format", "scales", *self.dma)}
        stopping = ("weights_tlast", "activations_tlast", "partial_beat", "dma_fault")
        m.d.comb += halted.eq(_any(flags[name] for name in stopping))
        self._inputs(m, reset, halted, flags)
        self._results(m, reset)
        self._control(m, reset, halted, flags, words)
        m.d.comb += registers.values.eq(self._words(flags, words, self._held_high(m)))
        return m

    def _held_high(self, m: Module) -> Signal:
        """The upper bits of the counter whose low word was read last, as they were then: the two words fit together."""
        held = Signal(COUNTER_BITS - 32, name="counter_high")
        for name in ("cycles", *CAUSES):
            with m.If(self.registers.read & (self.registers.read_index == REGISTERS.index(f"{name}_low"))):
                m.d.sync += held.eq(getattr(self.core.counters, name)[32:])
        return held

    def _inputs(self, m: Module, reset: Signal, halted: Signal, flags: dict[str, Signal]) -> None:
        """Operands through a register slice; a TLAST that is not where the GEMM ends, or a beat with null bytes, is a
        fault that stops them.
        """
        core = self.core
        begun = Signal()
        m.d.sync += begun.eq(core.running & ~reset)
        if self.events:
            m.d.comb += [self.starts.eq(core.running & ~begun & ~reset), self.stops.eq(reset)]
        if self.dma:
            m.d.comb += flags["dma_fault"].eq(self.dma_status.any())
        for name, stream, expected in (
            ("weights", core.weights, core.weights_last),
            ("activations", core.activations, core.activations_last),
        ):
            data, keep, last, valid, ready = (
                getattr(self, f"s_axis_{name}_t{field}") for field in ("data", "keep", "last", "valid", "ready")
            )
            slice_ = RegisterSlice(len(data) + 2)
            m.submodules[f"{name}_slice"] = ResetInserter(reset)(slice_)
            opened = Signal(name=f"{name}_open")
            word, is_whole, is_last = slice_.o.payload[: len(data)], slice_.o.payload[-2], slice_.o.payload[-1]
            m.d.comb += [
                slice_.i.payload.eq(Cat(data, keep.all(), last)),
                slice_.i.valid.eq(valid & opened),
                ready.eq(slice_.i.ready & opened),
                stream.payload.eq(word),
                stream.valid.eq(slice_.o.valid & ~halted),
                slice_.o.ready.eq(stream.ready & ~halted),
            ]
            with m.If(reset | halted | (valid & ready & last)):
                m.d.sync += opened.eq(0)
            with m.Elif(core.running & ~begun):
                m.d.sync += opened.eq(1)
            with m.If(slice_.o.valid & slice_.o.ready):
                with m.If(is_last != expected):
                    m.d.sync += flags[f"{name}_tlast"].eq(1)
                with m.If(~is_whole):
                    m.d.sync += flags["partial_beat"].eq(1)

    def _results(self, m: Module, reset: Signal) -> None:
        """Sums through a register slice, every byte of a beat kept."""
        core = self.core
        sums = Cat(_extended(value, result_bits(self.config)) for value in core.results.payload)
        slice_ = RegisterSlice(len(sums) + 1)
        m.submodules.results_slice = ResetInserter(reset)(slice_)
        m.d.comb += [
            slice_.i.payload.eq(Cat(sums, core.results_last)),
            slice_.i.valid.eq(core.results.valid),
            core.results.ready.eq(slice_.i.ready),
            Cat(self.m_axis_results_tdata, self.m_axis_results_tlast).eq(slice_.o.payload),
            self.m_axis_results_tkeep.eq(~0),
            self.m_axis_results_tvalid.eq(slice_.o.valid),
            slice_.o.ready.eq(self.m_axis_results_tready),
        ]

    def _control(
        self, m: Module, reset: Signal, halted: Signal, flags: dict[str, Signal], words: dict[str, Signal]
    ) -> None:
        """Writes, start and end of a GEMM, interrupt."""
        registers, core = self.registers, self.core
        writes = {name: registers.write & (registers.index == self.names.index(name)) for name in self.names}
        bits = {name: registers.data[place] for name, place in CONTROL_BITS.items()}
        enabled = Signal()
        size_too_large_latched = Signal()
        launched = Signal()
        was_running = Signal()
        was_halted = Signal()
        engines_busy = self.dma_busy if self.dma else Const(0)
        busy = core.running | halted | engines_busy
        start = Signal()
        size_too_large = Signal()
        reserved_bits_set = Signal()
        fields, reserved_bits = self._formats(words)
        m.d.comb += [
            reset.eq(writes["control"] & bits["reset"]),
            start.eq(writes["control"] & bits["start"] & ~bits["reset"] & ~busy),
            size_too_large.eq(_any(words[name][SIZE_BITS:].any() for name in _SIZES)),
            reserved_bits_set.eq(reserved_bits),
            core.descriptor.valid.eq(start & ~size_too_large & ~reserved_bits_set),
            *(getattr(core.descriptor.payload, name).eq(words[name]) for name in _SIZES),
            *(getattr(core.descriptor.payload, name).eq(field) for name, field in fields.items()),
            registers.refuse.eq(
                ~_any(writes[name] for name in ("control", *words))
                | (writes["control"] & bits["start"] & ~bits["reset"] & busy)
            ),
            flags["running"].eq(core.running | engines_busy),
            flags["illegal_weights"].eq(core.illegal_weights),
            flags["zero_size"].eq(
                (core.status == Status.ZERO_SIZE) & ~size_too_large_latched & ~flags["illegal_format"]
            ),
            flags["k_too_large"].eq(
                ((core.status == Status.K_TOO_LARGE) & ~flags["illegal_format"]) | size_too_large_latched
            ),
            self.interrupt.eq(flags["done"] & enabled),
        ]
        for name, word in words.items():
            with m.If(writes[name]):
                m.d.sync += word.eq(registers.data)
        with m.If(writes["control"]):
            m.d.sync += enabled.eq(bits["enable"])
        with m.If(start):
            m.d.sync += [size_too_large_latched.eq(size_too_large), flags["illegal_format"].eq(reserved_bits_set)]
        m.d.sync += [launched.eq(start), was_running.eq(core.running & ~reset), was_halted.eq(halted)]
        ended = ((launched | was_running) & ~core.running) | (halted & ~was_halted)
        if self.dma:  # not before the results are in memory
            waiting = Signal()
            finished = (ended | waiting) & (~self.dma_busy | halted)
            m.d.sync += waiting.eq((ended | waiting) & ~finished & ~reset)
            m.d.comb += [getattr(self, f"dma_{name}").eq(words[name]) for name in self.dma]
            ended = finished
        with m.If(reset):
            cleared = ("done", "weights_tlast", "activations_tlast", "partial_beat", "illegal_format")
            m.d.sync += [size_too_large_latched.eq(0), launched.eq(0), *(flags[name].eq(0) for name in cleared)]
        with m.Elif(start | (writes["control"] & bits["acknowledge"])):
            m.d.sync += flags["done"].eq(0)
        with m.Elif(ended):
            m.d.sync += flags["done"].eq(1)

    def _formats(self, words: dict[str, Signal]) -> tuple[dict[str, Value], Value]:
        """The descriptor's fields behind the sizes, out of their registers, and whether any other bit of these is 1."""
        known, fields, used = format_fields(self.config), {}, {"format": 0, "scales": 0}
        for register, places in (("format", FORMAT_BITS), ("scales", SCALES)):
            for name, (place, bits) in places.items():
                if name in known:
                    fields[name] = words[register][place : place + bits]
                    used[register] |= (1 << bits) - 1 << place
        return fields, _any((words[name] & ~Const(bits, 32)).any() for name, bits in used.items())

    def _words(self, flags: dict[str, Signal], words: dict[str, Signal], held_high: Signal) -> Value:
        """What each register reads as, in order; write-only ones read as 0."""
        config = self.config
        values = {
            "identity": Const(IDENTITY, 32),
            "config_hash": Const(int(config.sha256[:8], 16), 32),
            "geometry": Const(config.rows | config.cols << 16, 32),
            "status": Cat(flags.values()),
            **words,
        }
        for name in ("cycles", *CAUSES):
            counter = getattr(self.core.counters, name)
            values |= {f"{name}_low": counter[:32], f"{name}_high": held_high}
        if self.dma:
            values["dma_status"] = self.dma_status
        padded = (values.get(name, Const(0, 32)) for name in self.names)
        return Cat(Cat(word, Const(0, 32 - len(word))) for word in padded)


def _engine_ports(names: tuple[str, ...]) -> dict[str, Member]:
    """What the engines around the top get and say: their registers, whether they are busy, faults."""
    return {f"dma_{name}": Out(32) for name in names} | {"dma_busy": In(1), "dma_status": In(8)}


def _stream(name: str, ours, theirs, bits: int) -> dict[str, object]:
    """Members of an AXI4-Stream port whose data flow as ``ours``. Ref: Arm IHI 0051, section 2."""
    data = {"tdata": bits, "tkeep": bits // 8, "tvalid": 1, "tlast": 1}
    return {f"{name}_{field}": ours(width) for field, width in data.items()} | {f"{name}_tready": theirs(1)}


def _extended(value: Value, bits: int) -> Value:
    """A sum, sign-extended."""
    return Cat(value, value[-1].replicate(bits - len(value)))


def _any(bits) -> Value:
    """Whether one of them is 1."""
    return Cat(bits).any()
