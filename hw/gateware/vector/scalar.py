"""The scalar unit's long operations: a quotient and a square root, one or more bits per edge (``hw.token.scales``)."""

from amaranth import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

__all__ = ["Divider", "SquareRoot"]


class Divider(Component):
    """``quotient = dividend // divisor`` of unsigned integers, restoring; no multiplier.

    ``quotient_bits``: of a quotient that is known to have no more, so that fewer edges make it (default: as many as
    the dividend has). ``bits_per_edge``: divides them; so many bits take a subtraction for each of their values but 0,
    side by side.

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

    def __init__(self, dividend_bits: int, divisor_bits: int, quotient_bits: int | None = None, bits_per_edge: int = 1):
        self.dividend_bits, self.divisor_bits, self.bits_per_edge = dividend_bits, divisor_bits, bits_per_edge
        self.quotient_bits = quotient_bits or dividend_bits
        self.latency = _edges(self.quotient_bits, bits_per_edge, "quotient_bits")
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
        """The remainder takes bits of the dividend in turn; the largest multiple of the divisor that fits is a digit.

        All multiples of a digit are compared at once: they wait in registers.
        """
        m = Module()
        bits = self.bits_per_edge
        edges, width = self.quotient_bits // bits, self.divisor_bits + bits
        rest, left = Signal(self.divisor_bits), Signal(range(edges + 1))
        taken, digit, remainder = Signal(width), Signal(bits), Signal(width)
        m.d.comb += [taken.eq(Cat(self.quotient[-bits:], rest)), remainder.eq(taken)]
        multiples = [Signal(width, name=f"multiple{number}") for number in range(1, 1 << bits)]
        for number, multiple in enumerate(multiples, start=1):
            difference = Signal(signed(width + 1), name=f"difference{number}")
            m.d.comb += difference.eq(taken - multiple)
            with m.If(difference >= 0):
                m.d.comb += [digit.eq(number), remainder.eq(difference)]
        quotient = Cat(digit, self.quotient[:-bits])
        m.d.sync += self.done.eq(left == 1)
        with m.If(self.start):
            m.d.sync += [
                Cat(self.quotient, rest).eq(self.dividend),  # what is above the quotient is below the divisor
                *(multiple.eq(_times(self.divisor, number)) for number, multiple in enumerate(multiples, start=1)),
                left.eq(edges),
            ]
        with m.Elif(left != 0):
            m.d.sync += [rest.eq(remainder), self.quotient.eq(quotient), left.eq(left - 1)]
        return m


class SquareRoot(Component):
    """``root = isqrt(value)`` of an unsigned integer of an even number of bits, digit by digit; no multiplier.

    ``bits_per_edge`` of the root divide its bits; each is a subtraction behind the one before. ``done`` is high
    ``latency`` edges after the edge that takes ``start``, for one edge; a new start may come then.

    Members
    -------
    start : takes ``value``, of ``bits`` bits.
    root : ``bits / 2`` bits; holds until the next start.
    done : the root is there.
    """

    multipliers = 0

    def __init__(self, bits: int = 32, bits_per_edge: int = 1):
        self.bits, self.bits_per_edge = bits, bits_per_edge
        self.latency = _edges(bits // 2, bits_per_edge, "bits / 2")
        super().__init__({"start": In(1), "value": In(bits), "root": Out(bits // 2), "done": Out(1)})

    def elaborate(self, platform) -> Module:
        """Two bits of the value enter the remainder in turn; ``4 root + 1`` is what the next bit of the root costs."""
        m = Module()
        edges = self.bits // 2 // self.bits_per_edge
        value, rest = Signal(self.bits), Signal(self.bits // 2 + 2)
        left = Signal(range(edges + 1))
        operand, root, remainder = value, self.root, rest
        for number in range(self.bits_per_edge):
            taken, cost = Cat(operand[-2:], remainder), Cat(1, 0, root)
            fits, after = Signal(name=f"fits{number}"), Signal(len(rest), name=f"rest{number}")
            m.d.comb += [fits.eq(taken >= cost), after.eq(Mux(fits, taken - cost, taken))]
            operand, root, remainder = Cat(0, 0, operand[:-2]), Cat(fits, root[:-1]), after
        m.d.sync += self.done.eq(left == 1)
        with m.If(self.start):
            m.d.sync += [value.eq(self.value), rest.eq(0), self.root.eq(0), left.eq(edges)]
        with m.Elif(left != 0):
            m.d.sync += [rest.eq(remainder), self.root.eq(root), value.eq(operand), left.eq(left - 1)]
        return m


def _times(value: Value, number: int) -> Value:
    """A multiple by a constant, as a sum of shifts: no multiplier."""
    return sum((value << place for place in range(number.bit_length()) if number >> place & 1), start=0)


def _edges(bits: int, per_edge: int, what: str) -> int:
    """Edges of so many bits."""
    if per_edge < 1 or bits % per_edge:
        raise ValueError(f"bits_per_edge must divide {what} = {bits}, not be {per_edge}")
    return bits // per_edge
