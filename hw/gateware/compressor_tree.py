"""The sum of a column for an ASIC: all lanes in one tree of 3:2 compressors, one ripple adder, and a register.

Registers between the levels of a tree cost more energy than the glitches that they stop (docs/gates.md).
"""

from amaranth import Cat, Const, Module, Value
from amaranth.lib.data import View

from hw.arithmetic.compressors import add_rows, compress
from hw.arithmetic.lane import TERM_RANGE, term
from hw.arithmetic.operand import Operand
from hw.config import ArrayConfig
from hw.gateware.ports import total_shape

__all__ = ["compressor_tree"]


def compressor_tree(m: Module, config: ArrayConfig, x: View, trits: View, negatives: Value) -> Value:
    """The exact sum of a column without chains, ``config.column_stages`` registers after its operands.

    A term with its sign bit inverted is 128 more and never negative, so that no sign is extended; one constant takes
    that back. The first register stands behind the sum, the others follow. Full adders are instances of
    ``full_adder``, which a library's adder cell replaces.
    """
    width = total_shape(config).width
    rows = [Cat(value[:-1], ~value[-1]) for value in (term(x[lane], trits[lane]) for lane in range(config.rows))]
    correction = Const(config.rows * TERM_RANGE[0] % 2**width, width)
    columns: list[list[Value]] = [[row[bit] for row in (*rows, negatives) if bit < len(row)] for bit in range(width)]
    for bit, column in enumerate(columns):
        if correction.value >> bit & 1:
            column.append(Const(1, 1))
    total = add_rows(m, compress(m, columns, "compressor"), width, "ripple")
    root = Operand(total.as_signed(), config.rows * TERM_RANGE[0], config.rows * (TERM_RANGE[1] + 1))
    for stage in range(config.column_stages):
        root = root.registered(m, f"root{stage}")
    return root.value
