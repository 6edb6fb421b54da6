"""VectorUnit: carries out vector instructions on the lanes, pass by pass, and the kernels behind the array."""

from collections.abc import Iterator

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.arithmetic.registers import delayed
from hw.gateware.ports import sums_layout
from hw.gateware.vector.output import RowMaximum
from hw.gateware.vector.table import Argmax
from hw.gateware.whole.datapath import PASS_DEPTH, Datapath, Kernel
from hw.gateware.whole.kv_writer import KvWriter
from hw.gateware.whole.lane import LANE_LATENCY
from hw.gateware.whole.passes import PassEngine
from hw.gateware.whole.ports import ADDRESS_BITS, POSITION_BITS, InstructionLayout, ScaleLayout, write_layout
from hw.gateware.whole.rows import RowRegisters
from hw.gateware.whole.scale_unit import ScaleTask, ScaleUnit, bit_length
from hw.gateware.whole.slices import slice_of
from hw.program.instructions import OPERATIONS
from hw.program.machine import MachineConfig
from hw.token.formats import ACCUMULATOR_BITS, WORD_BITS
from hw.token.scales import KV_BIAS
from hw.token.softmax import FIRST_MAXIMUM

__all__ = ["VectorUnit"]

_LIFT = 16  # of a table's integers, see ``hw.token.table``
_STREAMING = {"DEQ": Kernel.DEQ, "SCORE": Kernel.SCORE, "OACC": Kernel.OACC}
_SINGLE = {"ROPE": Kernel.ROPE, "GLU": Kernel.GLU, "ADD": Kernel.ADD}  # one pass and nothing else


def _log2(size: int) -> int:
    return size.bit_length() - 1


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
                "writes": Out(stream.Signature(write_layout(machine))),
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
        self.words = Signal(16)
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
        self._activations(m)
        connect(m, self.kv.writes, flipped(self.writes))
        operations = (
            self._emb, self._single, self._wht, self._quantizing, self._norm, self._kv, self._exp, self._onorm,
            self._streaming, self._argmax,
        )  # fmt: skip
        sequences = [operation(m) for operation in operations]
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

    def _is(self, *names: str) -> Value:
        return Cat(self.instruction.operation == OPERATIONS[name].code for name in names).any()

    def _dispatch(self, m: Module) -> None:
        """The first state of every operation."""
        first = {
            "EMB": "EMB SCALE", "NORM": "NORM MAXIMUM", "QUANT": "MAXIMUM", "KV": "MAXIMUM", "WHT": "WHT",
            "EXP": "EXP MAXIMUM", "ONORM": "ONORM", "ARGMAX": "ARGMAX",
        }  # fmt: skip
        first |= dict.fromkeys(_SINGLE, "SINGLE") | dict.fromkeys(_STREAMING, "STREAM")
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
                path.issue.eq(passes.issue),
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
                    mine.eq(((pair & ~low) << 1 | (pair & low)) + Mux(which, self.step, 0)),
                    path.x.eq(begin + mine),
                    path.y.eq(begin + (mine ^ self.step)),
                    path.destination.eq(begin + mine),
                    path.less.eq(which),
                ]

    def _pass(self, m: Module, name: str, kernel: Kernel, following: str, keep: bool = True) -> None:
        """State ``name`` starts a pass, ``name RUNS`` waits for it; kernel and ``keep`` hold meanwhile."""
        with m.State(name):
            m.d.comb += self.passes.start.eq(1)
            m.next = f"{name} RUNS"
        with m.State(f"{name} RUNS"):
            m.d.comb += [self.kernel.eq(kernel), self.path.keep.eq(keep)]
            with m.If(self.passes.done):
                m.next = following

    def _next_row(self, m: Module, pitch: Value, again: str) -> None:
        """End of a row: the next one, or the end of the instruction."""
        m.d.sync += [self.row.eq(self.row + 1), self.row_source.eq(self.row_source + pitch)]
        m.d.sync += self.row_destination.eq(self.row_destination + pitch)
        m.next = again
        with m.If(self.row == self.instruction.rows - 1):
            self._end(m)

    def _end(self, m: Module) -> None:
        m.d.comb += self.done.eq(1)
        m.next = "IDLE"

    def _scale(self, m: Module, name: str, task: ScaleTask, value: Value, following: str) -> None:
        """State ``name`` starts a task of the scale unit, ``name RUNS`` waits for it."""
        unit = self.scale_unit
        with m.State(name):
            m.d.comb += [unit.start.eq(1), unit.task.eq(task), unit.value.eq(value)]
            m.next = f"{name} RUNS"
        with m.State(f"{name} RUNS"), m.If(unit.done):
            m.next = following

    # --- operations: what holds in all states, and behind the yield the states ----------------------------------------

    def _emb(self, m: Module) -> Iterator[None]:
        """The row's stored scale first; then one pass."""
        path, one = self.path, self.instruction
        scale = Signal(16)
        with m.If(self._is("EMB")):
            m.d.comb += [
                path.factor1.eq(Mux(scale.any(), Cat(scale[:11], 1), 0)),
                path.first.eq(one.first - scale[11:]),
                path.shift2.eq(one.shift),
                path.pre.eq(-_LIFT),
            ]
        yield
        with m.State("EMB SCALE"):
            m.d.comb += path.y.eq(one.row_scale)
            m.next = "EMB LATCH"
        with m.State("EMB LATCH"):
            m.d.sync += scale.eq(path.y_word[0][:16])
            m.next = "EMB"
        self._pass(m, "EMB", Kernel.EMB, "END")
        with m.State("END"):
            self._end(m)

    def _single(self, m: Module) -> Iterator[None]:
        """ROPE, GLU, ADD."""
        one, passes = self.instruction, self.passes
        with m.If(self._is("ROPE", "WHT")):
            m.d.comb += passes.rows.eq(one.rows)
        with m.If(self._is("GLU")):
            m.d.comb += self.path.shift2.eq(one.shift)
        yield
        with m.State("SINGLE"):
            m.d.comb += passes.start.eq(1)
            m.next = "SINGLE RUNS"
        with m.State("SINGLE RUNS"):
            m.d.comb += self.path.keep.eq(1)
            for name, kernel in _SINGLE.items():
                with m.If(self._is(name)):
                    m.d.comb += self.kernel.eq(kernel)
            with m.If(passes.done):
                self._end(m)

    def _wht(self, m: Module) -> Iterator[None]:
        """Partners in two words, from half a row apart to neighbours; then partners within a word."""
        lanes = self.machine.lanes
        yield
        with m.State("WHT"):
            m.d.sync += [self.step.eq(self.words >> 1), self.half_step.eq(lanes >> 1)]
            m.d.sync += self.row_destination.eq(self.row_source)
            m.next = "WHT STAGE"
        with m.State("WHT STAGE"):
            m.d.comb += self.passes.start.eq(1)
            m.next = "WHT STAGE RUNS"
        with m.State("WHT STAGE RUNS"):
            m.d.comb += [self.path.keep.eq(1), self.kernel.eq(Mux(self.step != 0, Kernel.WHT, Kernel.MIX))]
            with m.If(self.passes.done):
                m.next = "WHT STAGE"
                with m.If(self.step != 0):
                    m.d.sync += self.step.eq(self.step >> 1)
                with m.Else():
                    m.d.sync += self.half_step.eq(self.half_step >> 1)
                    with m.If(self.half_step == 1):
                        self._end(m)

    def _quantizing(self, m: Module) -> Iterator[None]:
        """QUANT and the start of KV: a row's maximum, its division, its numbers."""
        one, unit, path, rows = self.instruction, self.scale_unit, self.path, self.rows
        with m.If(self._is("QUANT", "KV", "NORM") & (self.kernel == Kernel.QUANT)):
            m.d.comb += [path.pre.eq(unit.pre), path.factor2.eq(unit.inverse), path.shift2.eq(unit.k)]
        yield
        self._pass(m, "MAXIMUM", Kernel.COPY, "DIVISION", keep=False)
        self._scale(m, "DIVISION", ScaleTask.QUANT, path.largest, "DIVIDED")
        with m.State("DIVIDED"):
            m.d.comb += [
                rows.new_scale.eq(unit.scale),
                rows.write_weight.eq(one.weights),
                rows.write_token.eq(~one.weights),
            ]
            m.next = "NUMBERS"
            with m.If(self._is("KV")):
                m.d.comb += [rows.write_weight.eq(0), rows.write_token.eq(0)]
                m.next = "KV PIECE"
        self._pass(m, "NUMBERS", Kernel.QUANT, "NUMBERS END", keep=False)
        with m.State("NUMBERS END"):
            m.d.comb += path.clear.eq(1)
            self._next_row(m, one.pitch, "MAXIMUM")

    def _norm(self, m: Module) -> Iterator[None]:
        """NORM: maximum, products and squares, root, division, numbers once or twice."""
        one, unit, path, rows = self.instruction, self.scale_unit, self.path, self.rows
        h, low_half = Signal(signed(7)), self.low_half
        total, root = Signal(48), Signal(ScaleLayout)
        with m.If(self._is("NORM")):
            m.d.comb += [unit.root.eq(root), unit.use_root.eq(1)]
            with m.If(self.kernel == Kernel.NORM):
                m.d.comb += path.pre.eq(h - 8)
        yield
        self._pass(m, "NORM MAXIMUM", Kernel.COPY, "NORM SHIFT", keep=False)
        with m.State("NORM SHIFT"):
            m.d.sync += h.eq(bit_length(m, path.largest, "norm") - 15)
            m.d.comb += path.clear.eq(1)
            m.next = "NORM PRODUCTS"
        self._pass(m, "NORM PRODUCTS", Kernel.NORM, "NORM SUM")
        with m.State("NORM SUM"):
            twice = Signal(7)
            m.d.comb += twice.eq((h + 15) << 1)
            m.d.sync += total.eq(path.squares + (one.epsilon >> twice))
            m.next = "NORM ROOT"
        self._scale(m, "NORM ROOT", ScaleTask.ROOT, total, "NORM ROOT END")
        with m.State("NORM ROOT END"):
            m.d.sync += [root.eq(unit.scale), low_half.eq(0)]
            m.next = "NORM DIVISION"
        self._scale(m, "NORM DIVISION", ScaleTask.QUANT, path.largest, "NORM DIVIDED")
        with m.State("NORM DIVIDED"):
            m.d.comb += [rows.new_scale.eq(unit.scale), rows.write_token.eq(1)]
            m.d.sync += self.row_source.eq(one.destination)
            m.next = "NORM NUMBERS"
        self._pass(m, "NORM NUMBERS", Kernel.QUANT, "NORM END", keep=False)
        with m.State("NORM END"):
            m.d.sync += low_half.eq(1)
            m.next = "NORM NUMBERS"
            with m.If(~one.split | low_half):
                self._end(m)

    def _kv(self, m: Module) -> Iterator[None]:
        """KV behind the division: pieces of a head, each gathered and written, then the stored scale."""
        machine, one, kv = self.machine, self.instruction, self.kv
        lanes, array = machine.lanes, machine.array
        tile_bits = _log2(machine.tile_words)
        piece_words, left = Signal(16), Signal(16)
        head, piece, scales = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        pieces, scale = Signal(16), Signal(16)
        per_piece = Mux(one.by_lanes, array.cols // lanes, array.rows // lanes)
        m.d.comb += [
            piece_words.eq(Mux(left < per_piece, left, per_piece)),
            pieces.eq(one.words + array.rows // lanes - 1 >> _log2(array.rows // lanes)),
            kv.numbers.eq(self.path.numbers),
            kv.valid.eq(self.path.numbers_valid & (self.kernel == Kernel.QUANT)),
            kv.place.eq(delayed(m, self.passes.word[:8], 1 + LANE_LATENCY, "place")),
            kv.address.eq(piece),
            kv.plane_words.eq(Mux(one.by_lanes, one.stride, pieces << tile_bits)),
            kv.by_lanes.eq(one.by_lanes),
            kv.planes.eq(one.planes),
            kv.position.eq(self.position),
            kv.scale_address.eq(scales),
            kv.scale.eq(scale),
        ]
        with m.If(self.start):
            outer = (self.position >> _log2(array.rows)) << tile_bits  # V: the tile of this token in every plane
            m.d.sync += [head.eq(self.address + Mux(one.by_lanes, outer, 0)), scales.eq(one.scales)]
        source = Signal(16)
        yield
        with m.State("KV PIECE"):
            m.d.sync += [piece.eq(head), left.eq(one.words), source.eq(self.row_source)]
            m.d.sync += scale.eq(self._stored(m))
            m.next = "KV GATHER"
        with m.State("KV GATHER"):
            m.d.comb += [self.passes.start.eq(1), self.passes.words.eq(piece_words), kv.clear.eq(1)]
            m.next = "KV GATHER RUNS"
        with m.State("KV GATHER RUNS"):
            m.d.comb += [self.kernel.eq(Kernel.QUANT), self.passes.words.eq(piece_words)]
            m.d.comb += self.path.x.eq(source + self.passes.offset)
            with m.If(self.passes.done):
                m.d.comb += kv.flush.eq(1)
                m.next = "KV WRITES"
        with m.State("KV WRITES"), m.If(kv.done):
            m.d.sync += [left.eq(left - per_piece), source.eq(source + per_piece)]
            m.d.sync += piece.eq(Mux(one.by_lanes, kv.following, piece + machine.tile_words))
            m.next = "KV GATHER"
            with m.If(left <= per_piece):
                m.next = "KV SCALE"
        with m.State("KV SCALE"):
            m.d.comb += kv.flush_scale.eq(1)
            m.next = "KV SCALE WRITES"
        with m.State("KV SCALE WRITES"), m.If(kv.done):
            m.d.comb += self.path.clear.eq(1)
            m.d.sync += [head.eq(head + one.jump), scales.eq(scales + one.pitch)]
            self._next_row(m, one.words, "MAXIMUM")

    def _stored(self, m: Module) -> Value:
        """The row's scale as a stored word, see ``hw.token.scales.store``."""
        scale = self.scale_unit.scale
        mantissa, exponent = Signal(13), Signal(signed(12))
        whole = scale.mantissa[4:]
        m.d.comb += [
            mantissa.eq(whole + (scale.mantissa[3] & (scale.mantissa[:3].any() | scale.mantissa[4]))),
            exponent.eq(scale.exponent + 4 + mantissa[12] + KV_BIAS),
        ]
        large = exponent > 31
        fraction = Mux(large, 2047, Mux(mantissa[12], mantissa[1:12], mantissa[:11]))
        word = Cat(fraction[:11], Mux(large, 31, exponent[:5])[:5])
        with m.If(large):
            m.d.sync += self.saturated.eq(1)
        return Mux(scale.mantissa.any() & (exponent >= 0), word, 0)

    def _exp(self, m: Module) -> Iterator[None]:
        """EXP: a row's largest score, its maximum and J, its powers and their sum."""
        one, path, rows = self.instruction, self.path, self.rows
        fresh = self.block == 0
        maximum, total = Signal(signed(17)), Signal(WORD_BITS)
        highest = Signal.like(path.highest)
        m.d.comb += [
            maximum.eq(Mux(fresh, FIRST_MAXIMUM, rows.state.maximum)),
            total.eq(Mux(fresh, 0, rows.state.total)),
            self.row_maximum.maximum.eq(maximum),
            self.row_maximum.highest.eq(highest),
            path.maximum.eq(self.row_maximum.result),
        ]
        yield
        self._pass(m, "EXP MAXIMUM", Kernel.COPY, "EXP HIGHEST", keep=False)
        with m.State("EXP HIGHEST"):
            m.d.sync += highest.eq(path.highest)
            m.d.comb += path.clear.eq(1)
            m.next = "EXP SHIFT"
        with m.State("EXP SHIFT"):
            m.next = "EXP POWERS"
        self._pass(m, "EXP POWERS", Kernel.EXP, "EXP END")
        with m.State("EXP END"):
            m.d.comb += [
                path.clear.eq(1),
                rows.write_state.eq(1),
                rows.new_state.maximum.eq(self.row_maximum.result),
                rows.new_state.shift.eq(self.row_maximum.shift),
                rows.new_state.total.eq((total >> self.row_maximum.shift) + path.powers),
            ]
            self._next_row(m, one.pitch, "EXP MAXIMUM")

    def _onorm(self, m: Module) -> Iterator[None]:
        """ONORM: the reciprocal of a row's total, then its outputs."""
        one, path, rows, unit = self.instruction, self.path, self.rows, self.scale_unit
        pre = Signal(5)
        with m.If(self._is("ONORM")):
            m.d.comb += [
                path.pre.eq(pre),
                path.factor2.eq(unit.scale.mantissa),
                path.shift2.eq(one.first - unit.scale.exponent - pre),
            ]
        yield
        self._scale(m, "ONORM", ScaleTask.RECIPROCAL, rows.state.total, "ONORM SHIFT")
        with m.State("ONORM SHIFT"):
            above = Signal(signed(13))
            m.d.comb += above.eq(bit_length(m, rows.state.total, "total") - one.shift)
            m.d.sync += pre.eq(Mux(above > 0, above, 0))
            m.next = "ONORM OUTPUTS"
        self._pass(m, "ONORM OUTPUTS", Kernel.ONORM, "ONORM END")
        with m.State("ONORM END"):
            self._next_row(m, one.pitch, "ONORM")
            m.d.sync += self.row_destination.eq(self.row_destination + one.words)

    def _streaming(self, m: Module) -> Iterator[None]:
        """DEQ, SCORE, OACC: every beat of sums takes an edge per scratch word."""
        machine, one, path, rows = self.machine, self.instruction, self.path, self.rows
        lanes, groups = machine.lanes, machine.array.cols // machine.lanes
        self.column, self.group, self.beat_row = column, group, beat_row = (
            Signal(16),
            Signal(range(max(2, groups))),
            Signal(8),
        )
        offset, drain = Signal(16), Signal(range(PASS_DEPTH + 1))
        outputs = Signal(16)
        m.d.comb += outputs.eq(Mux(one.by_block & ~one.by_lanes, self.visible, one.n + lanes - 1 >> _log2(lanes)))
        self.outputs = outputs
        last_group, last_row = group == groups - 1, beat_row == one.rows - 1
        with m.If(self.start):
            m.d.sync += [column.eq(0), group.eq(0), beat_row.eq(0), offset.eq(0)]
        scale = Mux(self._is("OACC"), rows.weight_scale.as_value(), rows.token_scale.as_value())
        scale = data.View(ScaleLayout, scale)
        constant = Mux(self._is("OACC"), one.first, one.shift)
        token = Signal(POSITION_BITS + 1)
        m.d.comb += token.eq((self.block << self.block_bits) + (column + group << _log2(lanes)))
        yield
        with m.State("STREAM"):
            place = column + group
            m.d.comb += [
                self.streaming.eq(1),
                rows.row.eq(beat_row),
                path.issue.eq(self.results.valid),
                path.x.eq(one.destination + offset + place),
                path.y.eq(one.second + place),
                path.destination.eq(one.destination + offset + place),
                path.keep.eq(place < outputs),
                path.sums.eq(slice_of(self.results.payload.as_value(), group, lanes * ACCUMULATOR_BITS)),
                path.hide.eq(Cat(token + i > self.position for i in range(lanes))),
                path.old_shift.eq(rows.state.shift),
                path.fresh.eq(self.block == 0),
                path.factor2.eq(scale.mantissa),
                path.shift2.eq(constant - scale.exponent),
                self.results.ready.eq(last_group),
            ]
            self._streaming_kernel(m)
            with m.If(self.results.valid):
                m.d.sync += group.eq(Mux(last_group, 0, group + 1))
                with m.If(last_group):
                    m.d.sync += [beat_row.eq(beat_row + 1), offset.eq(offset + one.pitch)]
                    with m.If(last_row):
                        m.d.sync += [beat_row.eq(0), offset.eq(0), column.eq(column + groups)]
                        with m.If(column + groups >= outputs):
                            m.d.sync += drain.eq(PASS_DEPTH - 1)
                            m.next = "DRAIN"
        with m.State("DRAIN"):
            self._streaming_kernel(m)
            m.d.sync += drain.eq(drain - 1)
            with m.If(drain == 0):
                self._end(m)

    def _streaming_kernel(self, m: Module) -> None:
        for name, kernel in _STREAMING.items():
            with m.If(self._is(name)):
                m.d.comb += self.kernel.eq(kernel)

    def _argmax(self, m: Module) -> Iterator[None]:
        """ARGMAX: the beat of the high halves waits for that of the low ones; then a logit per edge."""
        machine, one, path, argmax = self.machine, self.instruction, self.path, self.argmax
        lanes, cols = machine.lanes, machine.array.cols
        high, place = Signal.like(self.results.payload.as_value()), Signal(range(cols))
        waiting, drain = Signal(init=1), Signal(range(8))
        first = Signal()
        number = Signal(16)
        m.d.comb += number.eq((self.column << _log2(lanes)) + place)
        valid = Signal()
        low = self.results.payload.as_value()
        element = {
            "high": slice_of(high, place, ACCUMULATOR_BITS),
            "low": slice_of(low, place, ACCUMULATOR_BITS),
            "valid": valid,
            "id": one.identity + number,
            "first": first,
            "lane": place[: max(1, _log2(lanes))],
        }
        later = {name: delayed(m, value, 1, f"argmax_{name}") for name, value in element.items()}
        word = slice_of(path.y_word.as_value(), later["lane"], WORD_BITS)[:16]
        m.d.comb += [
            argmax.high.eq(later["high"]),
            argmax.low.eq(later["low"]),
            argmax.mantissa.eq(Mux(word.any(), Cat(word[:11], 1), 0)),
            argmax.shift.eq(word[11:] - one.first),
            argmax.id.eq(later["id"]),
            argmax.first.eq(later["first"]),
            argmax.valid.eq(later["valid"]),
            self.best.eq(argmax.best_id),
        ]
        with m.If(self.start):
            m.d.sync += [waiting.eq(1), place.eq(0), first.eq(~one.add)]
        yield
        with m.State("ARGMAX"):
            m.d.comb += [self.streaming.eq(1), path.y.eq(one.second + self.column + (place >> _log2(lanes)))]
            with m.If(self.results.valid):
                with m.If(waiting):
                    m.d.comb += self.results.ready.eq(1)
                    m.d.sync += [high.eq(self.results.payload), waiting.eq(0)]
                with m.Else():
                    m.d.comb += valid.eq(number < one.n)
                    m.d.sync += [place.eq(place + 1), first.eq(0)]
                    with m.If(place == cols - 1):
                        m.d.comb += self.results.ready.eq(1)
                        m.d.sync += [waiting.eq(1), place.eq(0), self.column.eq(self.column + cols // lanes)]
                        with m.If(self.column + cols // lanes >= self.outputs):
                            m.d.sync += drain.eq(7)
                            m.next = "ARGMAX DRAIN"
        with m.State("ARGMAX DRAIN"):
            m.d.sync += drain.eq(drain - 1)
            with m.If(drain == 0):
                self._end(m)

    def _activations(self, m: Module) -> None:
        """Quantized numbers into the activation buffer: fold by fold, rows beside each other."""
        machine, one = self.machine, self.instruction
        slices = machine.array.rows // machine.lanes
        number = delayed(m, self.passes.word, 1 + LANE_LATENCY, "activation_word")
        slice_bits = _log2(slices)
        address = Signal(16)
        start, end = self.passes.start, (number[:slice_bits].all() if slice_bits else Const(1, 1))
        row = Mux(self._is("NORM"), self.low_half, self.row)
        stride = Mux(self._is("NORM"), Mux(one.split, 2, 1), one.rows)
        with m.If(start):
            m.d.sync += address.eq(one.activation + row)
        with m.Elif(self.path.numbers_valid & end):
            m.d.sync += address.eq(address + stride)
        numbers = self.path.numbers
        m.d.comb += [
            self.activation_write.eq(
                self.path.numbers_valid & (self.kernel == Kernel.QUANT) & self._is("NORM", "QUANT")
            ),
            self.activation_address.eq(address),
            self.activation_slice.eq(number[:slice_bits] if slice_bits else 0),
        ]
        for i in range(machine.lanes):
            value = numbers[i]
            whole = (value >> 7) + (value[6] & (value[:6].any() | value[7]))
            rest = value - (whole << 7)
            halves = Mux(self.low_half, rest[:8], whole[:8])
            m.d.comb += self.activation_numbers[i].eq(Mux(self._is("NORM") & one.split, halves, value[:8]))
