"""The core as an AXI peripheral: AXI4-Stream data, AXI4-Lite registers, one interrupt."""

from amaranth import Cat, ClockDomain, ClockSignal, Const, Module, ResetInserter, ResetSignal, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from hw.axi_lite import AxiLiteRegisters, axi_lite_members
from hw.cells import Cells
from hw.config import ArrayConfig
from hw.core import Core
from hw.counters import CAUSES
from hw.errors import InputError
from hw.ports import SIZE_BITS
from hw.sequencer import Status

__all__ = ["CONTROL_BITS", "IDENTITY", "REGISTERS", "RESULT_BITS", "STATUS_BITS", "AxiCore"]

IDENTITY = 0x54460001  # "TF", register map 1
RESULT_BITS = 32  # each sum, sign-extended

# Byte offset = 4 x index. Counters are two words each, the low one first.
REGISTERS = (
    "identity",  # read only: IDENTITY
    "config_hash",  # read only: the first 32 bits of ArrayConfig.sha256
    "geometry",  # read only: rows in bits 0-15, columns in bits 16-31
    "control",  # write only: CONTROL_BITS
    "status",  # read only: STATUS_BITS
    "m",
    "n",
    "k",
    *(f"{name}_{half}" for name in ("cycles", *CAUSES) for half in ("low", "high")),  # read only
)

CONTROL_BITS = {
    "start": 0,  # take m, n, k and run; refused while running or after a fault
    "reset": 1,  # core, faults and done flag back to the state after reset
    "enable": 2,  # interrupt wanted; every write of control sets or clears it
    "acknowledge": 3,  # clear done, and the interrupt with it
}

STATUS_BITS = {
    "running": 0,
    "done": 1,  # the GEMM ended, was refused or met a fault
    "zero_size": 2,
    "k_too_large": 3,  # or a size above 24 bits
    "illegal_weights": 4,  # a trit code that is never written arrived: the sums mean nothing
    "weights_tlast": 5,  # TLAST too early or missing on the last beat: inputs are stopped until reset
    "activations_tlast": 6,  # the same
}


class AxiCore(Component):
    """``Core`` behind stock bus ports; ``aclk``, ``aresetn`` as AXI has them.

    Members
    -------
    s_axil : registers, see ``REGISTERS``.
    s_axis_weights : bus words, TLAST with the last of the GEMM.
    s_axis_activations : vectors, TLAST with the last of the GEMM.
    m_axis_results : ``cols`` sums of 32 bits, TLAST with the last of the GEMM.
    interrupt : high while done and enabled.

    Raises
    ------
    InputError
        ``config`` is not a ternary array, or its accumulators are wider than a result.
    """

    def __init__(self, config: ArrayConfig, cells: Cells = "portable"):
        if config.accumulator_bits > RESULT_BITS:
            raise InputError(
                f"array {config.name!r}: accumulator_bits must be at most {RESULT_BITS} behind AXI, "
                f"not {config.accumulator_bits}"
            )
        self.config, self.core = config, Core(config, cells)
        self.registers = AxiLiteRegisters(len(REGISTERS))
        super().__init__(
            {"aclk": In(1), "aresetn": In(1), "interrupt": Out(1)}
            | axi_lite_members(self.registers.address_bits, "s_axil_")
            | _stream("s_axis_weights", In, Out, config.weight_bus_bits)
            | _stream("s_axis_activations", In, Out, 8 * config.rows)
            | _stream("m_axis_results", Out, In, RESULT_BITS * config.cols)
        )

    def elaborate(self, platform) -> Module:
        """Clock domain, register file, control, streams."""
        m = Module()
        m.domains.sync = ClockDomain()
        m.d.comb += [ClockSignal().eq(self.aclk), ResetSignal().eq(~self.aresetn)]
        m.submodules.registers = registers = self.registers
        for name, member in axi_lite_members(registers.address_bits).items():
            inner, outer = getattr(registers, name), getattr(self, f"s_axil_{name}")
            m.d.comb += inner.eq(outer) if member.flow is In else outer.eq(inner)

        reset, halted = Signal(), Signal()
        m.submodules.core = ResetInserter(reset)(self.core)
        flags = {name: Signal(name=name) for name in STATUS_BITS}
        sizes = {name: Signal(32, name=name) for name in ("m", "n", "k")}
        m.d.comb += halted.eq(flags["weights_tlast"] | flags["activations_tlast"])
        self._streams(m, halted, flags)
        self._control(m, reset, halted, flags, sizes)
        m.d.comb += registers.values.eq(self._words(flags, sizes))
        return m

    def _streams(self, m: Module, halted: Signal, flags: dict[str, Signal]) -> None:
        """Connect data; a TLAST that is not where the GEMM ends is a fault that stops the inputs."""
        core = self.core
        for name, stream, expected in (
            ("weights", core.weights, core.weights_last),
            ("activations", core.activations, core.activations_last),
        ):
            valid, ready = getattr(self, f"s_axis_{name}_tvalid"), getattr(self, f"s_axis_{name}_tready")
            m.d.comb += [
                stream.payload.eq(getattr(self, f"s_axis_{name}_tdata")),
                stream.valid.eq(valid & ~halted),
                ready.eq(stream.ready & ~halted),
            ]
            with m.If(valid & ready & (getattr(self, f"s_axis_{name}_tlast") != expected)):
                m.d.sync += flags[f"{name}_tlast"].eq(1)
        sums = [_extended(value) for value in core.results.payload]
        m.d.comb += [
            self.m_axis_results_tdata.eq(Cat(sums)),
            self.m_axis_results_tvalid.eq(core.results.valid),
            self.m_axis_results_tlast.eq(core.results_last),
            core.results.ready.eq(self.m_axis_results_tready),
        ]

    def _control(
        self, m: Module, reset: Signal, halted: Signal, flags: dict[str, Signal], sizes: dict[str, Signal]
    ) -> None:
        """Writes, start and end of a GEMM, interrupt."""
        registers, core = self.registers, self.core
        writes = {name: registers.write & (registers.index == REGISTERS.index(name)) for name in REGISTERS}
        bits = {name: registers.data[place] for name, place in CONTROL_BITS.items()}
        enabled, oversized, launched, was_running, was_halted = (Signal(name=f"control{i}") for i in range(5))
        busy = core.running | halted
        start, oversize = Signal(), Signal()
        m.d.comb += [
            reset.eq(writes["control"] & bits["reset"]),
            start.eq(writes["control"] & bits["start"] & ~bits["reset"] & ~busy),
            oversize.eq(_any(size[SIZE_BITS:].any() for size in sizes.values())),
            core.descriptor.valid.eq(start & ~oversize),
            *(getattr(core.descriptor.payload, name).eq(size) for name, size in sizes.items()),
            registers.refuse.eq(
                ~_any(writes[name] for name in ("control", *sizes))
                | (writes["control"] & bits["start"] & ~bits["reset"] & busy)
            ),
            flags["running"].eq(core.running),
            flags["illegal_weights"].eq(core.illegal_weights),
            flags["zero_size"].eq((core.status == Status.ZERO_SIZE) & ~oversized),
            flags["k_too_large"].eq((core.status == Status.K_TOO_LARGE) | oversized),
            self.interrupt.eq(flags["done"] & enabled),
        ]
        for name, size in sizes.items():
            with m.If(writes[name]):
                m.d.sync += size.eq(registers.data)
        with m.If(writes["control"]):
            m.d.sync += enabled.eq(bits["enable"])
        with m.If(start):
            m.d.sync += oversized.eq(oversize)
        m.d.sync += [launched.eq(start), was_running.eq(core.running & ~reset), was_halted.eq(halted)]
        ended = ((launched | was_running) & ~core.running) | (halted & ~was_halted)
        with m.If(reset):
            cleared = ("done", "weights_tlast", "activations_tlast")
            m.d.sync += [oversized.eq(0), launched.eq(0), *(flags[name].eq(0) for name in cleared)]
        with m.Elif(start | (writes["control"] & bits["acknowledge"])):
            m.d.sync += flags["done"].eq(0)
        with m.Elif(ended):
            m.d.sync += flags["done"].eq(1)

    def _words(self, flags: dict[str, Signal], sizes: dict[str, Signal]) -> Value:
        """What each register reads as, in order; write-only ones read as 0."""
        config = self.config
        words = {
            "identity": Const(IDENTITY, 32),
            "config_hash": Const(int(config.sha256[:8], 16), 32),
            "geometry": Const(config.rows | config.cols << 16, 32),
            "status": Cat(flags.values()),
            **sizes,
        }
        for name in ("cycles", *CAUSES):
            counter = getattr(self.core.counters, name)
            words |= {f"{name}_low": counter[:32], f"{name}_high": counter[32:]}
        padded = (words.get(name, Const(0, 32)) for name in REGISTERS)
        return Cat(Cat(word, Const(0, 32 - len(word))) for word in padded)


def _stream(name: str, ours, theirs, bits: int) -> dict[str, object]:
    """Members of an AXI4-Stream port whose data flow as ``ours``. Ref: Arm IHI 0051, section 2."""
    data = {"tdata": bits, "tvalid": 1, "tlast": 1}
    return {f"{name}_{field}": ours(width) for field, width in data.items()} | {f"{name}_tready": theirs(1)}


def _extended(value: Value) -> Value:
    """A sum, sign-extended to ``RESULT_BITS``."""
    return Cat(value, value[-1].replicate(RESULT_BITS - len(value)))


def _any(bits) -> Value:
    """Whether one of them is 1."""
    return Cat(bits).any()
