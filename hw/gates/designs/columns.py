"""Dot-product columns: ``rows`` weight-stationary lanes, an adder tree and one accumulator; ternary and integer."""

from typing import Literal

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from hw.arithmetic.compressors import add_rows, compress, merge, products
from hw.arithmetic.registers import registered
from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.gateware.column import Column

__all__ = ["CoreColumn", "IntegerColumn", "TernaryColumn", "TwoBitColumn"]


class _Column(wiring.Component):
    """Ports and registers that all columns share.

    ``x``: ``rows`` int8 activations, registered outside (columns share them); ``w``: weight codes, taken when ``load``;
    ``first``: with the vector that starts a sum, registered outside; ``start``: what the sum starts from; ``acc``.
    """

    def __init__(self, rows: int, weight_bits: int, accumulator_bits: int) -> None:
        self.rows = rows
        self.weight_bits = weight_bits
        self.accumulator_bits = accumulator_bits
        super().__init__(
            {
                "x": In(8 * rows),
                "w": In(weight_bits * rows),
                "load": In(1),
                "first": In(1),
                "start": In(accumulator_bits),
                "acc": Out(accumulator_bits),
            }
        )

    def lanes(self, m: Module) -> list[tuple[Value, Value]]:
        """Activation and stationary weight of every lane, raw bits."""
        weights = Signal(self.weight_bits * self.rows, reset_less=True)
        with m.If(self.load):
            m.d.sync += weights.eq(self.w)
        return [(self.x.word_select(r, 8), weights.word_select(r, self.weight_bits)) for r in range(self.rows)]

    def accumulate(self, m: Module, total: Value, carry: Value, stages: int) -> None:
        """``acc <- (start if first else acc) + total + carry``; ``first`` is delayed by ``stages`` registers."""
        first = self.first
        for stage in range(stages):
            later = Signal(reset_less=True, name=f"first_{stage}")
            m.d.sync += later.eq(first)
            first = later
        acc = Signal(signed(self.accumulator_bits), reset_less=True)
        before = Signal.like(acc)
        m.d.comb += before.eq(Mux(first, self.start.as_signed(), acc))
        m.d.sync += acc.eq(_add((before, carry), (total, Const(0, 1)))[0])
        m.d.comb += self.acc.eq(acc)


class TernaryColumn(_Column):
    """Sum of +x, -x or 0 over the lanes.

    ``style``:

    - ``"adders"``: a binary tree of adders, +1 of negations as carries in, registers after every second level;
    - ``"compressors"``: ones' complement with the sign bit inverted makes every term unsigned,
      ``u = t*x + 128 - [t < 0]``; 3:2 compressors and one ripple adder sum them into one register. The bias,
      ``[t < 0] - 128`` per lane and vector, is a constant of the weights that ``start`` carries: no carries in, no
      sign extension.

    ``registers``: pipeline registers between the operands and the accumulator.
    """

    def __init__(self, rows: int, accumulator_bits: int, style: Literal["adders", "compressors"]) -> None:
        self.style = style
        super().__init__(rows, 2, accumulator_bits)
        levels = (rows - 1).bit_length()
        self.registers = ceil_divide(levels, 2) if style == "adders" else 1

    def bias_constant(self, negatives: int) -> int:
        """What ``start`` must hold per vector of a sum, for a column with that many weights of -1."""
        return negatives - 128 * self.rows if self.style == "compressors" else 0

    def elaborate(self, platform):
        """Build the column."""
        m = Module()
        lanes = self.lanes(m)
        total, carry = self._adders(m, lanes) if self.style == "adders" else self._compressors(m, lanes)
        self.accumulate(m, total, carry, self.registers)
        return m

    def _adders(self, m: Module, lanes: list[tuple[Value, Value]]) -> tuple[Value, Value]:
        """The sum, and the one carry that no adder of the tree has taken."""
        nodes = [(((x & w[0].replicate(8)) ^ w[1].replicate(8))[:8].as_signed(), w[1]) for x, w in lanes]
        for level in range(1, 2 * self.registers + 1):
            pairs = zip(nodes[::2], nodes[1::2], strict=False)
            nodes = [_add(a, b) for a, b in pairs] + nodes[len(nodes) & ~1 :]
            if level % 2 == 0:
                nodes = [
                    (
                        registered(m, value, f"sum_{level}_{i}", reset_less=True),
                        registered(m, carry, f"carry_{level}_{i}", reset_less=True),
                    )
                    for i, (value, carry) in enumerate(nodes)
                ]
        return nodes[0]

    def _compressors(self, m: Module, lanes: list[tuple[Value, Value]]) -> tuple[Value, Value]:
        terms = [((x & w[0].replicate(8)) ^ w[1].replicate(8))[:8] for x, w in lanes]
        columns = [[term[i] if i < 7 else ~term[7] for term in terms] for i in range(8)]
        width = (255 * self.rows).bit_length()
        return registered(m, _total(m, columns, width, "tree"), "root", reset_less=True), Const(0, 1)


class CoreColumn(_Column):
    """The core's own column, with the count of -1 trits that its tiles bring along."""

    def __init__(self, rows: int, accumulator_bits: int) -> None:
        super().__init__(rows, 2, accumulator_bits)
        levels = max(1, (rows - 1).bit_length())
        self.config = ArrayConfig(
            name="column", rows=rows, cols=1, accumulator_bits=accumulator_bits, adders_per_register=levels
        )
        self.registers = self.config.column_stages

    def bias_constant(self, negatives: int) -> int:
        """None: the column counts its -1 trits itself."""
        return 0

    def elaborate(self, platform):
        """Weights, their count, the column, and the accumulator."""
        m = Module()
        m.submodules.column = column = Column(self.config, "asic")
        negatives = Signal.like(column.negatives, reset_less=True)
        with m.If(self.load):
            m.d.sync += negatives.eq(sum(self.w.word_select(lane, 2)[1] for lane in range(self.rows)))
        for lane, (x, code) in enumerate(self.lanes(m)):
            m.d.comb += [column.x[lane].eq(x), column.trits[lane].as_value().eq(code)]
        m.d.comb += column.negatives.eq(negatives)
        self.accumulate(m, column.total, Const(0, 1), self.registers)
        return m


class IntegerColumn(_Column):
    """Sum of int8 x signed products.

    ``product_registers``: each lane's product is finished and registered before the tree; otherwise the partial
    products of all lanes are compressed in one tree. Either way the constant of signed partial products is left to
    ``start``.
    """

    def __init__(self, rows: int, weight_bits: int, accumulator_bits: int, product_registers: bool) -> None:
        self.product_registers = product_registers
        super().__init__(rows, weight_bits, accumulator_bits)
        self.registers = 2 if product_registers else 1

    def bias_constant(self, negatives: int) -> int:
        """What ``start`` must hold per vector of a sum: the constant of every lane's partial products."""
        return self.rows * products(Signal(8), Signal(self.weight_bits), signed=True)[1]

    def elaborate(self, platform):
        """Build the column."""
        m = Module()
        parts = [products(x, w, signed=True)[0] for x, w in self.lanes(m)]
        bits = 7 + self.weight_bits  # of the largest partial sum of a lane
        if self.product_registers:
            lanes = [_total(m, part, bits + 1, f"lane_{r}") for r, part in enumerate(parts)]
            lanes = [registered(m, lane, f"product_{r}", reset_less=True) for r, lane in enumerate(lanes)]
            parts = [[[bit] for bit in lane] for lane in lanes]
        largest = self.rows * (2 ** (bits + 1) - 1)
        total = _total(m, merge(parts), largest.bit_length(), "tree")
        self.accumulate(m, registered(m, total, "root", reset_less=True), Const(0, 1), self.registers)
        return m


class TwoBitColumn(_Column):
    """Sum of x, 0, -x or -2x over the lanes: int8 x two's complement 2-bit weights without a multiplier.

    A lane selects one term of 9 bits as radix-4 Booth recoding does with its single digit, where partial products would
    be two rows of 8 bits; ones' complement with the sign bit inverted makes it unsigned, ``u = w*x + 256 - [w < 0]``.
    """

    registers = 1

    def __init__(self, rows: int, accumulator_bits: int) -> None:
        super().__init__(rows, 2, accumulator_bits)

    def bias_constant(self, negatives: int) -> int:
        """What ``start`` must hold per vector of a sum, for a column with that many negative weights."""
        return negatives - 256 * self.rows

    def elaborate(self, platform):
        """Build the column."""
        m = Module()
        terms = [self._term(x, w) for x, w in self.lanes(m)]
        columns = [[term[i] if i < 8 else ~term[8] for term in terms] for i in range(9)]
        width = (511 * self.rows).bit_length()
        self.accumulate(
            m, registered(m, _total(m, columns, width, "tree"), "root", reset_less=True), Const(0, 1), self.registers
        )
        return m

    @staticmethod
    def _term(x: Value, w: Value) -> Value:
        """``w * x - [w < 0]`` in 9 bits: x where the code is odd, 2x where it is -2, inverted where it is negative."""
        odd, twice = w[0].replicate(9), (w[1] & ~w[0]).replicate(9)
        return ((Cat(x, x[7]) & odd) | (Cat(Const(0, 1), x) & twice)) ^ w[1].replicate(9)


def _total(m: Module, columns: list[list[Value]], width: int, name: str) -> Value:
    """The sum of all bits, compressed and then added by a ripple."""
    return add_rows(m, compress(m, columns, f"{name}_fa"), width, f"{name}_ripple")


def _add(a: tuple[Value, Value], b: tuple[Value, Value]) -> tuple[Value, Value]:
    """Add two (value, carry) pairs with one adder: the carry of ``a`` enters it, that of ``b`` is left."""
    if isinstance(a[1], Const):
        return a[0] + b[0], b[1]
    return (Cat(1, a[0]).as_signed() + Cat(a[1], b[0]).as_signed()) >> 1, b[1]
