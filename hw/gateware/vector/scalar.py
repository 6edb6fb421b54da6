"""The scalar unit's long operations: a quotient and a square root, one bit per edge (``hw.token.scales``)."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

__all__ = ["Divider", "SquareRoot"]


class Divider(Component):
    """``quotient = dividend // divisor`` of unsigned integers, restoring, a bit per edge; no multiplier.

    ``quotient_bits``: of a quotient that is known to have no more, so that fewer edges make it (default: as many as
    the dividend has).

    ``done`` is high ``latency`` edges after the edge that takes ``start``, for one edge; a new start may come then. A
    divisor of 0 gives all ones.

    Members
    -------
    start : takes ``dividend`` and ``divisor``.
    dividend : ``dividend_bits``; divisor : ``divisor_bits``.
    quotient : ``quotient_bits``; holds until the next start.
    done : the quotient is there.
    """

    multipliers = 0

    def __init__(self, dividend_bits: int, divisor_bits: int, quotient_bits: int | None = None):
        self.dividend_bits, self.divisor_bits = dividend_bits, divisor_bits
        self.latency = self.quotient_bits = quotient_bits or dividend_bits
        super().__init__(
            {
                "start": In(1),
                "dividend": In(dividend_bits),
                "divisor": In(divisor_bits),
                "quotient": Out(self.quotient_bits),
                "done": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """The remainder takes a bit of the dividend per edge; whether the divisor fits is a bit of the quotient."""
        m = Module()
        divisor, rest = Signal(self.divisor_bits), Signal(self.divisor_bits)
        left = Signal(range(self.quotient_bits + 1))
        taken = Cat(self.quotient[-1], rest)
        fits = taken >= divisor
        m.d.sync += self.done.eq(left == 1)
        with m.If(self.start):
            m.d.sync += [
                Cat(self.quotient, rest).eq(self.dividend),  # what is above the quotient is below the divisor
                divisor.eq(self.divisor),
                left.eq(self.quotient_bits),
            ]
        with m.Elif(left != 0):
            m.d.sync += [
                rest.eq(Mux(fits, taken - divisor, taken)),
                self.quotient.eq(Cat(fits, self.quotient[:-1])),
                left.eq(left - 1),
            ]
        return m


class SquareRoot(Component):
    """``root = isqrt(value)`` of an unsigned integer of an even number of bits, digit by digit; no multiplier.

    ``done`` is high ``latency`` edges after the edge that takes ``start``, for one edge; a new start may come then.

    Members
    -------
    start : takes ``value``, of ``bits`` bits.
    root : ``bits / 2`` bits; holds until the next start.
    done : the root is there.
    """

    multipliers = 0

    def __init__(self, bits: int = 32):
        self.bits, self.latency = bits, bits // 2
        super().__init__({"start": In(1), "value": In(bits), "root": Out(bits // 2), "done": Out(1)})

    def elaborate(self, platform) -> Module:
        """Two bits of the value enter the remainder per edge; ``4 root + 1`` is what the next bit of the root costs."""
        m = Module()
        value, rest = Signal(self.bits), Signal(self.bits // 2 + 2)
        left = Signal(range(self.bits // 2 + 1))
        taken, cost = Cat(value[-2:], rest), Cat(1, 0, self.root)
        fits = taken >= cost
        m.d.sync += self.done.eq(left == 1)
        with m.If(self.start):
            m.d.sync += [value.eq(self.value), rest.eq(0), self.root.eq(0), left.eq(self.bits // 2)]
        with m.Elif(left != 0):
            m.d.sync += [
                rest.eq(Mux(fits, taken - cost, taken)),
                self.root.eq(Cat(fits, self.root[:-1])),
                value.eq(Cat(0, 0, value[:-2])),
                left.eq(left - 1),
            ]
        return m
