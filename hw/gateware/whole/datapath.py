"""Scratch memory, vector lanes and reducers: one scratch word per edge through whatever kernel is set."""

from collections.abc import Sequence

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, enum
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed, registered
from hw.gateware.whole.lane import LANE_LATENCY, MOST_LEFT, SHIFT_BITS, Ending, LaneMode, VectorLane
from hw.program.machine import MachineConfig
from hw.token.formats import ACCUMULATOR_BITS, FACTOR_BITS, OPERAND_BITS, WORD_BITS
from hw.token.softmax import HIDDEN

__all__ = ["PASS_DEPTH", "POWERS_DEPTH", "SCAN_DEPTH", "Datapath", "Kernel"]

PASS_DEPTH = LANE_LATENCY + 3  # edges from the last issue until memories and reducers hold its results
POWERS_DEPTH = 6  # edges from the last issue until the reducers hold the sum of powers
SCAN_DEPTH = 4  # edges from the last word that is only scanned until the reducers hold it
_MIDDLE, _WIDE = 1, 2  # codes of ``WIDTHS``


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
        bits = WORD_BITS * self.machine.lanes
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
        self._reduce(m, made)
        return m

    def _lanes(self, m: Module, x: data.View, y: data.View) -> list[VectorLane]:
        """The lanes: what goes through them one edge behind the issue, what goes beside it an edge later."""
        kernel, made = registered(m, self.kernel, "kernel1"), []  # what it decides is far from who sets it
        streams = Cat(self.kernel == one for one in (Kernel.DEQ, Kernel.SCORE, Kernel.OACC)).any()
        from_array, sums = registered(m, streams, "from_array"), delayed(m, self.sums, 1, "sums")
        hidden = registered(m, self.hide & (self.kernel == Kernel.SCORE).replicate(len(self.hide)), "hidden")
        x1, y1 = delayed(m, x, 1, "x"), delayed(m, y, 1, "y")
        self.x1 = x1
        hide, less = delayed(m, hidden, 1, "hide"), delayed(m, self.less, 2, "less")
        row = {
            name: delayed(m, getattr(self, name), 2, name)
            for name in ("factor2", "shift2", "maximum", "old_shift", "fresh")
        }
        right = registered(m, delayed(m, self.pre, 1, "pre") + MOST_LEFT, "right", shape=6)
        modes = [self._mode(m, kernel, odd) for odd in range(2)]
        for i in range(self.machine.lanes):
            m.submodules[f"lane{i}"] = lane = VectorLane()
            made.append(lane)
            mantissa, exponent = _stored(y1[i])
            own, pair = x1[i], i ^ 1
            m.d.comb += [
                lane.a.eq(Mux(hidden[i], 0, Mux(from_array, sums[i], x[i]))),
                lane.hide.eq(hide[i]),
                lane.right.eq(right),
                lane.factor1.eq(self.factor1),
                lane.shift1.eq(self.first),
                lane.factor2.eq(row["factor2"]),
                lane.shift2.eq(row["shift2"]),
                lane.maximum.eq(row["maximum"]),
                lane.mode.eq(modes[i % 2]),
            ]
            with m.Switch(kernel):
                with m.Case(Kernel.EMB):
                    m.d.comb += lane.factor2.eq(y1[i])
                with m.Case(Kernel.NORM):
                    m.d.comb += [lane.factor2.eq(y1[i]), lane.shift2.eq(15)]
                with m.Case(Kernel.ROPE):
                    m.d.comb += [lane.factor1.eq(y1[i & ~1]), lane.factor2.eq(y1[i | 1]), lane.shift2.eq(14)]
                with m.Case(Kernel.WHT):
                    m.d.comb += [lane.shift2.eq(0), lane.addend.eq(y1[i])]
                    m.d.comb += lane.ending.eq(Mux(less, Ending.LESS, Ending.SUM))
                with m.Case(Kernel.MIX):
                    m.d.comb += lane.shift2.eq(0)
                    for place in range(self.machine.lanes.bit_length() - 1):
                        step = 1 << place
                        with m.If(self.step[place]):
                            ending = Ending.LESS if i & step else Ending.SUM
                            m.d.comb += [lane.addend.eq(x1[i ^ step]), lane.ending.eq(ending)]
                with m.Case(Kernel.EXP):
                    below = Signal(signed(SHIFT_BITS), name=f"below{i}")
                    m.d.comb += [
                        lane.factor1.eq(mantissa),
                        below.eq(self.first - exponent),
                        lane.shift1.eq(Mux(below < 0, 0, below)),
                        lane.factor2.eq(1),
                        lane.shift2.eq(0),
                    ]
                with m.Case(Kernel.GLU):
                    m.d.comb += [lane.shift1.eq(16), lane.factor2.eq(y1[i])]
                with m.Case(Kernel.ADD):
                    m.d.comb += [lane.shift2.eq(0), lane.addend.eq(y1[i]), lane.ending.eq(Ending.SUM)]
                with m.Case(Kernel.DEQ):
                    m.d.comb += [lane.factor1.eq(mantissa), lane.shift1.eq(self.first - exponent)]
                    m.d.comb += lane.addend.eq(own)
                    m.d.comb += lane.ending.eq(Mux(self.add, Ending.SUM, Ending.ALONE))
                with m.Case(Kernel.SCORE):
                    m.d.comb += [lane.factor1.eq(mantissa), lane.shift1.eq(self.first - exponent)]
                with m.Case(Kernel.OACC):
                    old = Signal(signed(WORD_BITS), name=f"old{i}")
                    m.d.comb += [
                        old.eq(own >> row["old_shift"]),
                        lane.addend.eq(Mux(row["fresh"], 0, old)),
                        lane.ending.eq(Ending.SUM),
                    ]
            if pair < i:
                m.d.comb += [lane.partner.eq(made[pair].operand), made[pair].partner.eq(lane.operand)]
        return made

    def _mode(self, m: Module, kernel: Value, odd: int) -> data.View:
        """The mode of even or odd lanes, in a register; it waits for words, not words for it."""
        mode = Signal(LaneMode, name=f"mode_of_{odd}")
        bits = {
            Kernel.NORM: ("bypass", "square"),
            Kernel.QUANT: ("bypass",),
            Kernel.ROPE: ("partner", "turn" if odd else "back"),
            Kernel.WHT: ("wide",),
            Kernel.MIX: ("wide",),
            Kernel.EXP: ("power", "down"),
            Kernel.ONORM: ("bypass", "checked"),
            Kernel.GLU: ("sigmoid",),
            Kernel.ADD: ("wide",),
            Kernel.OACC: ("bypass",),
        }
        widths = Mux(kernel == Kernel.DEQ, self.width, Mux(kernel == Kernel.SCORE, _MIDDLE, _WIDE))
        m.d.sync += mode.width.eq(widths)
        for name in LaneMode.members:
            if name != "width":
                m.d.sync += mode[name].eq(Cat(kernel == one for one, names in bits.items() if name in names).any())
        return mode

    def _reduce(self, m: Module, made: list[VectorLane]) -> None:
        """Reducers: registers for the word's own, then the row's. Of lanes and scans, one comes at a time.

        Maxima are those of trees, cut by the registers in the middle. A magnitude goes through them as that of the
        number's complement where it is negative, and the 1 that it lacks as the lowest bit: sizes compare alike.
        """
        scans = delayed(m, self.scan, 2, "scans")
        products = delayed(m, self.issue & (self.kernel == Kernel.NORM), 1 + LANE_LATENCY, "products")
        biggest, words = Signal(WORD_BITS), [Mux(scans, self.x1[i], lane.result) for i, lane in enumerate(made)]
        sizes = [Cat(word[-1], word[:-1] ^ word[-1].replicate(WORD_BITS - 1)) for word in words]
        tops = [self.x1[i][:OPERAND_BITS].as_signed() for i in range(len(made))]
        there = delayed(m, scans | products, 1, "there")
        for name, values, row in (("size", sizes, biggest), ("top", tops, self.highest)):
            halves = _largest(values, len(values).bit_length() // 2)
            held = [delayed(m, value, 1, f"{name}{i}_") for i, value in enumerate(halves)]
            (largest,) = _largest([*_largest(held), row])
            with m.If(there):
                m.d.sync += row.eq(largest)
        m.d.comb += self.largest.eq(biggest[1:] + biggest[0])
        for name, values, edges, target in (
            ("power", [lane.power for lane in made], 4, self.powers),
            ("square", [lane.square for lane in made], 5, self.squares),
        ):
            total = Signal(len(values[0]) + len(made).bit_length(), name=f"{name}_of_word")
            m.d.sync += total.eq(sum(values, start=0))
            with m.If(delayed(m, self.issue, edges + 1, f"{name}_issued")):
                m.d.sync += target.eq(target + total)
        with m.If(self.clear):
            m.d.sync += [biggest.eq(0), self.highest.eq(HIDDEN), self.powers.eq(0), self.squares.eq(0)]


def _stored(value: Value) -> tuple[Value, Value]:
    """Mantissa and exponent of a stored scale."""
    word = value[:16]
    return Cat(word[:11], word.any()), word[11:]


def _largest(values: Sequence[Value], levels: int | None = None) -> list[Value]:
    """What is left of ``values`` behind so many levels of a tree of maxima; by default the largest alone."""
    left = list(values)
    while len(left) > 1 and levels != 0:
        pairs = [left[i : i + 2] for i in range(0, len(left), 2)]
        left = [_larger(*pair) if len(pair) == 2 else pair[0] for pair in pairs]
        levels = None if levels is None else levels - 1
    return left


def _larger(a: Value, b: Value) -> Value:
    larger = Mux(a > b, a, b)
    return larger.as_signed() if a.shape().signed else larger
