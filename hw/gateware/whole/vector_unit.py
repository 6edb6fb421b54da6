"""VectorUnit: carries out vector instructions on the lanes, pass by pass, and the kernels behind the array."""

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.ports import sums_layout
from hw.gateware.vector.output import RowMaximum
from hw.gateware.vector.table import Argmax
from hw.gateware.whole import attention, elementwise, quantizing, streaming
from hw.gateware.whole.datapath import Datapath, Kernel
from hw.gateware.whole.elementwise import SINGLE
from hw.gateware.whole.kv_writer import KvWriter
from hw.gateware.whole.passes import PassEngine
from hw.gateware.whole.ports import ADDRESS_BITS, POSITION_BITS, InstructionLayout, write_layout
from hw.gateware.whole.rows import RowRegisters
from hw.gateware.whole.scale_unit import ScaleTask, ScaleUnit
from hw.gateware.whole.streaming import STREAMING
from hw.program.instructions import OPERATIONS
from hw.program.machine import MachineConfig
from hw.token.formats import WORD_BITS

__all__ = ["VectorUnit"]


class VectorUnit(Component):
    """One instruction at a time, from ``start`` to ``done``.

    Members
    -------
    start, instruction, address : begin; ``address``: the memory word, indexed. They stay until ``done``.
    position, block, block_bits, visible : of the token; ``visible``: scratch words of the block's tokens.
    results : of the array, for streaming kernels and ARGMAX.
    writes : the memory port of KV.
    activation_* : into the activation buffer.
    load, load_address, load_word : the loader's writes to scratch memory.
    best : token id of the largest logit.
    saturated : sticky, until ``clear``.
    done : this edge ends the instruction.
    """

    def __init__(self, machine: MachineConfig):
        self.machine = machine
        slices = machine.array.rows // machine.lanes
        scratch = range(machine.scratch_words)
        super().__init__(
            {
                "start": In(1),
                "instruction": In(InstructionLayout),
                "address": In(ADDRESS_BITS),
                "position": In(POSITION_BITS),
                "block": In(POSITION_BITS),
                "block_bits": In(5),
                "visible": In(16),
                "results": In(stream.Signature(sums_layout(machine.array))),
                "writes": Out(stream.Signature(write_layout(machine.array.weight_bus_bits))),
                "activation_write": Out(1),
                "activation_address": Out(range(machine.activation_words)),
                "activation_slice": Out(range(max(2, slices))),
                "activation_numbers": Out(data.ArrayLayout(8, machine.lanes)),
                "load": In(1),
                "load_address": In(scratch),
                "load_word": In(data.ArrayLayout(signed(WORD_BITS), machine.lanes)),
                "best": Out(20),
                "clear": In(1),
                "saturated": Out(1),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Blocks, then the sequence of every operation."""
        m = Module()
        machine, one = self.machine, self.instruction
        m.submodules.datapath = self.path = path = Datapath(machine)
        m.submodules.passes = self.passes = passes = PassEngine(machine)
        m.submodules.scale_unit = self.scale_unit = unit = ScaleUnit()
        m.submodules.rows = self.rows = rows = RowRegisters(machine)
        m.submodules.row_maximum = self.row_maximum = RowMaximum()
        m.submodules.kv_writer = self.kv = KvWriter(machine)
        m.submodules.argmax = self.argmax = Argmax()
        self.row = Signal(8)  # of instructions that work row by row
        self.row_source, self.row_destination = Signal(16), Signal(16)
        self.words, self.scanning = Signal(16), Signal()
        self.more_rows = self.row != one.rows - 1
        self.low_half = Signal()  # NORM: the second of two int8 rows
        m.d.comb += self.words.eq(Mux(one.by_block, self.visible, one.words))
        m.d.comb += [
            path.load.eq(self.load),
            path.load_address.eq(self.load_address),
            path.load_word.eq(self.load_word),
            path.first.eq(one.first),
            path.width.eq(one.width),
            path.add.eq(one.add),
            passes.words.eq(self.words),
            passes.rows.eq(1),
            passes.scan.eq(self.scanning),
            rows.row.eq(self.row),
            unit.limit.eq(one.limit),
            unit.inverse_limit.mantissa.eq(one.inverse_mantissa),
            unit.inverse_limit.exponent.eq(one.inverse_exponent),
            unit.factor.mantissa.eq(one.factor_mantissa),
            unit.factor.exponent.eq(one.factor_exponent),
        ]
        with m.If(self.clear):
            m.d.sync += self.saturated.eq(0)
        with m.Elif(path.saturated):
            m.d.sync += self.saturated.eq(1)
        self._issue(m)
        quantizing.activations(self, m)
        connect(m, self.kv.writes, flipped(self.writes))
        operations = (
            elementwise.emb, elementwise.single, elementwise.wht, quantizing.quantizing, quantizing.norm, quantizing.kv,
            attention.exp, attention.onorm, streaming.streaming, streaming.argmax,
        )  # fmt: skip
        sequences = [operation(self, m) for operation in operations]
        for sequence in sequences:
            next(sequence)
        with m.FSM():
            with m.State("IDLE"), m.If(self.start):
                m.d.sync += [self.row.eq(0), self.row_source.eq(one.source), self.row_destination.eq(one.destination)]
                m.d.comb += path.clear.eq(1)
                self._dispatch(m)
            for sequence in sequences:
                next(sequence, None)
        return m

    # --- what all operations share ----------------------------------------------------------------------------------

    def runs(self, *names: str) -> Value:
        """Whether the instruction is one of these."""
        return Cat(self.instruction.operation == OPERATIONS[name].code for name in names).any()

    def _dispatch(self, m: Module) -> None:
        """The first state of every operation."""
        first = {
            "EMB": "EMB SCALE", "NORM": "NORM MAXIMUM", "QUANT": "MAXIMUM", "KV": "MAXIMUM", "WHT": "WHT",
            "EXP": "EXP MAXIMUM", "ONORM": "ONORM", "ARGMAX": "ARGMAX",
        }  # fmt: skip
        first |= dict.fromkeys(SINGLE, "SINGLE") | dict.fromkeys(STREAMING, "STREAM")
        with m.Switch(self.instruction.operation):
            for name, state in first.items():
                with m.Case(OPERATIONS[name].code):
                    m.next = state

    def _issue(self, m: Module) -> None:
        """Where the words of a pass lie, by kernel; streaming states drive the addresses themselves."""
        path, passes, one = self.path, self.passes, self.instruction
        self.kernel = Signal(Kernel)
        self.step, self.half_step = Signal(16), Signal(self.machine.lanes)
        self.streaming = Signal()
        m.d.comb += [path.kernel.eq(self.kernel), path.step.eq(self.half_step)]
        with m.If(~self.streaming):
            m.d.comb += [
                path.issue.eq(passes.issue & ~self.scanning),
                path.scan.eq(passes.issue & self.scanning),
                path.x.eq(self.row_source + passes.offset),
                path.y.eq(one.second + passes.word),
                path.destination.eq(self.row_destination + passes.offset),
            ]
            with m.If(self.kernel == Kernel.WHT):
                low = self.step - 1
                pair, which = passes.word >> 1, passes.word[0]
                begin = Signal(16)
                mine = Signal(16)
                m.d.comb += [
                    begin.eq(self.row_source + passes.offset - passes.word),
                    mine.eq((pair & ~low) << 1 | (pair & low) | Mux(which, self.step, 0)),
                    path.x.eq(begin + mine),
                    path.y.eq(begin + (mine ^ self.step)),
                    path.destination.eq(begin + mine),
                    path.less.eq(which),
                ]

    def run_pass(
        self, m: Module, name: str, kernel: Kernel, following: str, keep: bool = True, early: str | None = None
    ) -> None:
        """State ``name`` starts a pass, ``name RUNS`` waits for it; kernel and ``keep`` hold meanwhile.

        ``early``: where to go on, in front of another row, as soon as the last word is issued: what follows must leave
        the kernel as it is while words are under way.
        """
        with m.State(name):
            m.d.comb += self.passes.start.eq(1)
            m.next = f"{name} RUNS"
        with m.State(f"{name} RUNS"):
            m.d.comb += [self.kernel.eq(kernel), self.path.keep.eq(keep)]
            if early:
                with m.If(self.passes.last & self.more_rows):
                    m.next = early
            with m.If(self.passes.done):
                m.next = following

    def run_scan(self, m: Module, name: str, following: str) -> None:
        """State ``name`` starts a pass for the row's maxima alone, ``name RUNS`` waits for it."""
        with m.State(name):
            m.d.comb += self.passes.start.eq(1)
            m.next = f"{name} RUNS"
        with m.State(f"{name} RUNS"):
            m.d.comb += self.scanning.eq(1)
            with m.If(self.passes.done):
                m.next = following

    def next_row(self, m: Module, pitch: Value, again: str) -> None:
        """End of a row: the next one, or the end of the instruction."""
        m.d.sync += [self.row.eq(self.row + 1), self.row_source.eq(self.row_source + pitch)]
        m.d.sync += self.row_destination.eq(self.row_destination + pitch)
        m.next = again
        with m.If(~self.more_rows):
            self.end(m)

    def end(self, m: Module) -> None:
        """End of the instruction."""
        m.d.comb += self.done.eq(1)
        m.next = "IDLE"

    def run_scale(self, m: Module, name: str, task: ScaleTask, value: Value, following: str) -> None:
        """State ``name`` starts a task of the scale unit, ``name RUNS`` waits for it."""
        unit = self.scale_unit
        with m.State(name):
            m.d.comb += [unit.start.eq(1), unit.task.eq(task), unit.value.eq(value)]
            m.next = f"{name} RUNS"
        with m.State(f"{name} RUNS"), m.If(unit.done):
            m.next = following

    # --- operations: what holds in all states, and behind the yield the states ----------------------------------------
