"""Scratch memory, vector lanes and reducers: one scratch word per edge through whatever kernel is set."""

from functools import reduce

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.gateware.whole.lane import LANE_LATENCY, SHIFT_BITS, Ending, VectorLane
from hw.program.machine import MachineConfig
from hw.token.formats import ACCUMULATOR_BITS, FACTOR_BITS, OPERAND_BITS, WORD_BITS
from hw.token.softmax import HIDDEN

__all__ = ["PASS_DEPTH", "POWERS_DEPTH", "SCAN_DEPTH", "Datapath", "Kernel"]

PASS_DEPTH = LANE_LATENCY + 3  # edges from the last issue until memories and reducers hold its results
POWERS_DEPTH = 6  # edges from the last issue until the reducers hold the sum of powers
SCAN_DEPTH = 4  # edges from the last word that is only scanned until the reducers hold it
_NARROW, _MIDDLE, _WIDE = range(3)  # codes of ``WIDTHS``


class Kernel(enum.Enum, shape=4):
    """What the lanes make of a word; constant while words are under way."""

    EMB = 0
    NORM = 1
    QUANT = 2
    ROPE = 3
    WHT = 4  # partners in two words
    MIX = 5  # WHT, partners within a word
    EXP = 6
    ONORM = 7
    GLU = 8
    ADD = 9
    DEQ = 10
    SCORE = 11
    OACC = 12


class Datapath(Component):
    """What a kernel reads and writes; ``x``, ``y`` and what is beside them come with ``issue``.

    Members
    -------
    kernel, first, width, add, step : of the instruction; ``step``: distance of partners within a word, one-hot.
    issue, x, y, destination, keep : this edge reads two scratch words; ``keep``: the result goes to ``destination``.
    scan : this edge reads the word of ``x`` for the reducers' maxima alone, past the lanes.
    less : WHT: the second of a pair.
    sums : of the array. hide : per lane, the token is not to be seen.
    pre, factor2, shift2, maximum, old_shift, fresh : of the row; ``fresh``: there is no output yet.
    clear : reducers begin anew.
    largest, highest, powers, squares : reducers: max ``|number|``, max number, sums; ``SCAN_DEPTH`` edges after a scan,
        ``PASS_DEPTH`` after an issue of NORM, whose products count too.
    numbers, numbers_valid : results as they leave the lanes, ``1 + LANE_LATENCY`` edges after their issue.
    y_word : the word of ``y``, one edge after its issue.
    load, load_address, load_word : the loader's writes.
    saturated : a result of this edge was clipped.
    """

    def __init__(self, machine: MachineConfig):
        self.machine = machine
        address, word = range(machine.scratch_words), data.ArrayLayout(signed(WORD_BITS), machine.lanes)
        super().__init__(
            {
                "kernel": In(Kernel),
                "first": In(signed(SHIFT_BITS)),
                "width": In(2),
                "add": In(1),
                "step": In(machine.lanes),
                "issue": In(1),
                "scan": In(1),
                "x": In(address),
                "y": In(address),
                "destination": In(address),
                "keep": In(1),
                "less": In(1),
                "sums": In(data.ArrayLayout(signed(ACCUMULATOR_BITS), machine.lanes)),
                "hide": In(machine.lanes),
                "pre": In(signed(7)),
                "factor1": In(signed(FACTOR_BITS)),
                "factor2": In(signed(FACTOR_BITS)),
                "shift2": In(signed(SHIFT_BITS)),
                "maximum": In(signed(17)),
                "old_shift": In(6),
                "fresh": In(1),
                "clear": In(1),
                "largest": Out(WORD_BITS),
                "highest": Out(signed(OPERAND_BITS)),
                "powers": Out(WORD_BITS),
                "squares": Out(48),
                "numbers": Out(word),
                "numbers_valid": Out(1),
                "y_word": Out(word),
                "load": In(1),
                "load_address": In(address),
                "load_word": In(word),
                "saturated": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Two read ports, the lanes between them and the write port, the reducers beside."""
        m = Module()
        lanes, bits = self.machine.lanes, WORD_BITS * self.machine.lanes
        m.submodules.scratch = self.scratch = scratch = Memory(shape=bits, depth=self.machine.scratch_words, init=[])
        read_x, read_y, write = scratch.read_port(), scratch.read_port(), scratch.write_port()
        layout = self.y_word.shape()
        x, y = data.View(layout, read_x.data), data.View(layout, read_y.data)
        m.d.comb += [read_x.addr.eq(self.x), read_y.addr.eq(self.y), self.y_word.eq(y)]
        made = self._lanes(m, x, y)

        issued = delayed(m, self.issue, 1 + LANE_LATENCY, "issued")
        keep = delayed(m, self.keep & self.issue, 1 + LANE_LATENCY, "keep")
        destination = delayed(m, self.destination, 1 + LANE_LATENCY, "destination")
        m.d.comb += [
            self.numbers.as_value().eq(Cat(lane.result for lane in made)),
            self.numbers_valid.eq(issued),
            self.saturated.eq(issued & Cat(lane.saturated for lane in made).any()),
            write.en.eq(self.load | keep),
            write.addr.eq(Mux(self.load, self.load_address, destination)),
            write.data.eq(Mux(self.load, self.load_word.as_value(), self.numbers.as_value())),
        ]
        self._reduce(m, made, x, lanes)
        return m

    def _lanes(self, m: Module, x: data.View, y: data.View) -> list[VectorLane]:
        """The lanes with their operands, one edge behind the issue."""
        kernel, made = self.kernel, []
        sums = delayed(m, self.sums, 1, "sums")
        hide, less = delayed(m, self.hide, 1, "hide"), delayed(m, self.less, 1, "less")
        row = {
            name: delayed(m, getattr(self, name), 1, name)
            for name in ("pre", "factor2", "shift2", "maximum", "old_shift", "fresh")
        }
        from_array = (kernel == Kernel.DEQ) | (kernel == Kernel.SCORE) | (kernel == Kernel.OACC)
        for i in range(self.machine.lanes):
            m.submodules[f"lane{i}"] = lane = VectorLane()
            made.append(lane)
            mantissa, exponent = _stored(y[i])
            own, pair = x[i], i ^ 1
            m.d.comb += [
                lane.a.eq(Mux(from_array, sums[i], own)),
                lane.pre.eq(row["pre"]),
                lane.factor1.eq(self.factor1),
                lane.shift1.eq(self.first),
                lane.factor2.eq(row["factor2"]),
                lane.shift2.eq(row["shift2"]),
                lane.maximum.eq(row["maximum"]),
                lane.mode.width.eq(_WIDE),
            ]
            mode = lane.mode
            with m.Switch(kernel):
                with m.Case(Kernel.EMB):
                    m.d.comb += lane.factor2.eq(y[i])
                with m.Case(Kernel.NORM):
                    m.d.comb += [mode.bypass.eq(1), mode.square.eq(1), lane.factor2.eq(y[i]), lane.shift2.eq(15)]
                with m.Case(Kernel.QUANT):
                    m.d.comb += mode.bypass.eq(1)
                with m.Case(Kernel.ROPE):
                    turn = [mode.back.eq(1)] if i % 2 == 0 else [mode.turn.eq(1)]
                    m.d.comb += [mode.partner.eq(1), *turn, lane.shift2.eq(14)]
                    m.d.comb += [lane.factor1.eq(y[i & ~1]), lane.factor2.eq(y[i | 1])]
                with m.Case(Kernel.WHT):
                    m.d.comb += [mode.wide.eq(1), lane.shift2.eq(0), lane.addend.eq(y[i])]
                    m.d.comb += lane.ending.eq(Mux(less, Ending.LESS, Ending.SUM))
                with m.Case(Kernel.MIX):
                    m.d.comb += [mode.wide.eq(1), lane.shift2.eq(0)]
                    for place in range(self.machine.lanes.bit_length() - 1):
                        step = 1 << place
                        with m.If(self.step[place]):
                            ending = Ending.LESS if i & step else Ending.SUM
                            m.d.comb += [lane.addend.eq(x[i ^ step]), lane.ending.eq(ending)]
                with m.Case(Kernel.EXP):
                    below = Signal(signed(SHIFT_BITS), name=f"below{i}")
                    m.d.comb += [
                        mode.power.eq(1),
                        mode.down.eq(1),
                        lane.factor1.eq(mantissa),
                        below.eq(self.first - exponent),
                        lane.shift1.eq(Mux(below < 0, 0, below)),
                        lane.factor2.eq(1),
                        lane.shift2.eq(0),
                    ]
                with m.Case(Kernel.ONORM):
                    m.d.comb += [mode.bypass.eq(1), mode.checked.eq(1)]
                with m.Case(Kernel.GLU):
                    m.d.comb += [mode.sigmoid.eq(1), lane.shift1.eq(16), lane.factor2.eq(y[i])]
                with m.Case(Kernel.ADD):
                    m.d.comb += [mode.wide.eq(1), lane.shift2.eq(0), lane.addend.eq(y[i]), lane.ending.eq(Ending.SUM)]
                with m.Case(Kernel.DEQ):
                    m.d.comb += [lane.factor1.eq(mantissa), lane.shift1.eq(self.first - exponent)]
                    m.d.comb += [mode.width.eq(self.width), lane.addend.eq(own)]
                    m.d.comb += lane.ending.eq(Mux(self.add, Ending.SUM, Ending.ALONE))
                with m.Case(Kernel.SCORE):
                    m.d.comb += [lane.factor1.eq(mantissa), lane.shift1.eq(self.first - exponent)]
                    m.d.comb += [mode.width.eq(_MIDDLE), lane.hide.eq(hide[i]), lane.a.eq(Mux(hide[i], 0, sums[i]))]
                with m.Case(Kernel.OACC):
                    old = Signal(signed(WORD_BITS), name=f"old{i}")
                    m.d.comb += [
                        mode.bypass.eq(1),
                        old.eq(own >> row["old_shift"]),
                        lane.addend.eq(Mux(row["fresh"], 0, old)),
                        lane.ending.eq(Ending.SUM),
                    ]
            if pair < i:
                m.d.comb += [lane.partner.eq(made[pair].operand), made[pair].partner.eq(lane.operand)]
        return made

    def _reduce(self, m: Module, made: list[VectorLane], scanned: data.View, lanes: int) -> None:
        """Reducers: a register for the word's own, then the row's. Of lanes and scans, one comes at a time."""
        scans = delayed(m, self.scan, 2, "scans")
        products = delayed(m, self.issue & (self.kernel == Kernel.NORM), 1 + LANE_LATENCY, "products")
        size, top = Signal(WORD_BITS), Signal(signed(OPERAND_BITS))
        plain = delayed(m, scanned, 1, "scanned")
        words = [Mux(scans, plain[i], lane.result) for i, lane in enumerate(made)]
        sizes = [Mux(word < 0, -word, word)[:WORD_BITS] for word in words]
        m.d.sync += [
            size.eq(reduce(_larger, sizes)),
            top.eq(reduce(_larger, [plain[i][:OPERAND_BITS].as_signed() for i in range(lanes)])),
        ]
        there = delayed(m, scans | products, 1, "there")
        with m.If(there):
            m.d.sync += [self.largest.eq(_larger(self.largest, size)), self.highest.eq(_larger(self.highest, top))]
        for name, values, edges, target in (
            ("power", [lane.power for lane in made], 4, self.powers),
            ("square", [lane.square for lane in made], 5, self.squares),
        ):
            total = Signal(len(values[0]) + lanes.bit_length(), name=f"{name}_of_word")
            m.d.sync += total.eq(sum(values, start=0))
            with m.If(delayed(m, self.issue, edges + 1, f"{name}_issued")):
                m.d.sync += target.eq(target + total)
        with m.If(self.clear):
            m.d.sync += [self.largest.eq(0), self.highest.eq(HIDDEN), self.powers.eq(0), self.squares.eq(0)]


def _stored(value: Value) -> tuple[Value, Value]:
    """Mantissa and exponent of a stored scale."""
    word = value[:16]
    return Mux(word.any(), Cat(word[:11], 1), 0), word[11:]


def _larger(a: Value, b: Value) -> Value:
    larger = Mux(a > b, a, b)
    return larger.as_signed() if a.shape().signed else larger
