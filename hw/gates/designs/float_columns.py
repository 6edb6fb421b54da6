"""Floating-point baselines: a pipelined lane, and a dot-product column as tensor cores do it."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.compressors import add_rows, compress, merge
from hw.arithmetic.registers import registered
from hw.gates.designs.floats import FloatFormat, add, leading_zeros, maximum, multiply, pack, shift_right

__all__ = ["WINDOW_BITS", "FloatColumn", "FloatLane"]

WINDOW_BITS = 25  # of an aligned product: what falls below is cut off, as in tensor cores


def _register(m: Module, value: Value, name: str) -> Signal:
    """The bits of ``value`` one edge later."""
    return registered(m, value, name, shape=len(value), reset_less=True)


class FloatLane(wiring.Component):
    """``acc <- round((0 if first else acc) + round(x * w))`` in ``accumulator``; a register between multiply and add.

    Products of FP16 and BF16 are exact in an FP32 accumulator. The sum of cycle c stands in ``acc`` after edge c + 3.
    """

    def __init__(self, operand: FloatFormat, accumulator: FloatFormat) -> None:
        self.operand = operand
        self.accumulator = accumulator
        super().__init__({"x": In(operand.bits), "w": In(operand.bits), "first": In(1), "acc": Out(accumulator.bits)})

    def elaborate(self, platform):
        """Build the lane."""
        m = Module()
        x, w, first = (
            _register(m, port, f"{name}_in") for name, port in (("x", self.x), ("w", self.w), ("f", self.first))
        )
        sign, exponent, significand = multiply(m, x, w, self.operand, "mul")
        high = significand[-1]
        normal = Mux(high, significand, Cat(0, significand[:-1]))[: len(significand)]
        rebias = self.accumulator.bias - 2 * self.operand.bias
        biased = (exponent + rebias + high).as_signed()
        product = _register(m, pack(m, sign, biased, normal, self.accumulator, "product"), "product")
        starts = _register(m, first, "starts")
        acc = Signal(self.accumulator.bits, reset_less=True)
        before = acc & (~starts).replicate(len(acc))
        m.d.sync += acc.eq(add(m, before, product, self.accumulator, "sum"))
        m.d.comb += self.acc.eq(acc)
        return m


class FloatColumn(wiring.Component):
    """``rows`` products aligned to the largest exponent, summed once as integers, normalized, added to ``acc``.

    Ports as the integer columns (``start`` is unused and one bit). Registers after the products, after the sum, after
    normalization, and, with ``stages``, of the shift distances (``"distance"``) and of the aligned terms
    (``"aligned"``). Bits below the window of ``WINDOW_BITS`` are cut off; the sum is cut to the accumulator's fraction;
    the addition to ``acc`` rounds to nearest even.

    Ref: M. Fasi, N. J. Higham, M. Mikaitis, S. Pranesh, "Numerical behavior of NVIDIA tensor cores", PeerJ Computer
    Science 7:e330, 2021.
    """

    def __init__(self, rows: int, operand: FloatFormat, accumulator: FloatFormat, stages: frozenset[str]) -> None:
        self.rows = rows
        self.stages = stages
        self.registers = 3 + len(stages)
        self.operand = operand
        self.accumulator = accumulator
        self.weight_bits = operand.bits
        super().__init__(
            {
                "x": In(operand.bits * rows),
                "w": In(operand.bits * rows),
                "load": In(1),
                "first": In(1),
                "start": In(1),
                "acc": Out(accumulator.bits),
            }
        )

    def elaborate(self, platform):
        """Build the column."""
        m = Module()
        weights = Signal(self.operand.bits * self.rows, reset_less=True)
        with m.If(self.load):
            m.d.sync += weights.eq(self.w)
        lanes = []
        for r in range(self.rows):
            x, w = (port.word_select(r, self.operand.bits) for port in (self.x, weights))
            parts = multiply(m, x, w, self.operand, f"mul_{r}")
            lanes.append([_register(m, part, f"lane_{r}_{i}") for i, part in enumerate(parts)])
        total, exponent = self._sum(m, lanes)
        total, exponent = _register(m, total, "total"), _register(m, exponent, "total_exponent")
        addend = _register(m, self._normalized(m, total, exponent), "addend")
        first = self.first
        for stage in range(self.registers):
            first = _register(m, first, f"first_{stage}")
        acc = Signal(self.accumulator.bits, reset_less=True)
        before = acc & (~first).replicate(len(acc))
        m.d.sync += acc.eq(add(m, before, addend, self.accumulator, "sum"))
        m.d.comb += self.acc.eq(acc)
        return m

    def _sum(self, m: Module, lanes: list[list[Signal]]):
        """Two's complement sum of the aligned products, and the largest exponent."""
        largest = maximum(m, [exponent for _, exponent, _ in lanes], "largest")
        parts = []
        for r, (sign, exponent, significand) in enumerate(lanes):
            distance = Signal(len(largest), name=f"distance_{r}")
            m.d.comb += distance.eq(largest - exponent)
            if "distance" in self.stages:
                distance, significand, sign = (
                    _register(m, value, f"distance_{r}_{i}") for i, value in enumerate((distance, significand, sign))
                )
            window = Cat(Const(0, WINDOW_BITS - len(significand)), significand)
            aligned, _ = shift_right(m, window, distance, f"align_{r}")
            term = aligned ^ sign.replicate(WINDOW_BITS)
            if "aligned" in self.stages:
                term, sign = _register(m, term, f"term_{r}"), _register(m, sign, f"term_sign_{r}")
            columns = [[bit] for bit in term] + [[~sign]]  # inverted sign bit: no sign extension
            columns[0] = [columns[0][0], sign]  # the 1 that completes a negation
            parts.append(columns)
        width = WINDOW_BITS + 1 + (self.rows - 1).bit_length()
        correction = (-self.rows << WINDOW_BITS) % (1 << width)
        constant = [[Const(1, 1)] if correction >> i & 1 else [] for i in range(width)]
        columns = merge([*parts, constant])
        for stage in sorted(self.stages):
            largest = _register(m, largest, f"largest_{stage}")
        return add_rows(m, compress(m, columns, "tree_fa"), width, "tree_ripple"), largest

    def _normalized(self, m: Module, total: Signal, exponent: Signal) -> Signal:
        """The sum as a number of the accumulator's format, cut off."""
        width = len(total)
        sign = total[-1]
        magnitude = Signal(width)
        m.d.comb += magnitude.eq((total ^ sign.replicate(width)) + sign)
        zeros, normal = leading_zeros(m, magnitude, "normalize")
        # A significand with its top bit set at WINDOW_BITS - 1 is a product in [2, 4) of the largest exponent.
        rebias = self.accumulator.bias - 2 * self.operand.bias + 1 + (width - WINDOW_BITS)
        biased = (exponent + rebias - zeros).as_signed()
        kept = normal[width - 1 - self.accumulator.fraction_bits :]
        return pack(m, sign, biased, kept, self.accumulator, "addend")
