"""A number on its way to a column's sum: its value with the range that decides how wide a register must be."""

from typing import NamedTuple

from amaranth import Module, Value, signed
from amaranth.utils import bits_for

from hw.arithmetic.registers import registered

__all__ = ["Operand"]


class Operand(NamedTuple):
    """A value and the smallest and largest number that it can be."""

    value: Value
    low: int
    high: int

    @property
    def width(self) -> int:
        """Bits of a signed number with this range."""
        return max(bits_for(self.low, True), bits_for(self.high, True))

    def plus(self, other: "Operand") -> "Operand":
        """The sum of two operands; ``+`` would join them, as it does tuples."""
        return Operand(self.value + other.value, self.low + other.low, self.high + other.high)

    def registered(self, m: Module, name: str) -> "Operand":
        """The same one edge later, in a register as wide as the range asks for, which no reset needs to clear."""
        return self._replace(value=registered(m, self.value, name, shape=signed(self.width), reset_less=True))
