"""Scales between rows: the top 16 bits of an integer, and the product of two scales (``hw.token.scales``)."""

from amaranth import Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed

__all__ = ["ScaleMultiplier", "ScaleOf"]

_MANTISSA_BITS, _EXPONENT_BITS = 16, 10
_VALUE_BITS = 48


class ScaleOf(Component):
    """``scale_of(value)``: mantissa in 2**15..2**16 - 1 or 0, floor; one value per edge, latency 2 registers.

    Members
    -------
    value : 48 bits.
    mantissa : 16 bits. exponent : signed, 10 bits, 0 of 0.
    """

    latency, multipliers = 2, 0

    def __init__(self):
        super().__init__(
            {"value": In(_VALUE_BITS), "mantissa": Out(_MANTISSA_BITS), "exponent": Out(signed(_EXPONENT_BITS))}
        )

    def elaborate(self, platform) -> Module:
        """Shift left by 32, 16, ..., 1 where that many leading bits are 0, counting."""
        m = Module()
        value, leading = self.value, []
        for place in reversed(range(6)):
            step = 1 << place
            empty, moved = Signal(name=f"empty{step}"), Signal(_VALUE_BITS, name=f"by{step}")
            m.d.comb += [empty.eq(~value[_VALUE_BITS - step :].any()), moved.eq(Mux(empty, value << step, value))]
            if place == 2:  # half of the steps on either side of the registers
                held = Signal(_VALUE_BITS)
                m.d.sync += held.eq(moved)
                value, leading = held, _held(m, [*leading, (step, empty)])
            else:
                value, leading = moved, [*leading, (step, empty)]
        count = sum((Mux(empty, step, 0) for step, empty in leading), start=0)
        exponent = _VALUE_BITS - _MANTISSA_BITS - count
        m.d.sync += [
            self.mantissa.eq(value[_VALUE_BITS - _MANTISSA_BITS :]),
            self.exponent.eq(Mux(value[-1], exponent, 0)),
        ]
        return m


class ScaleMultiplier(Component):
    """The top 16 bits of a product of scales, floor; one product per edge, latency 2 registers, 1 multiplier (16 x 16).

    Members
    -------
    a_mantissa, b_mantissa, mantissa : 16 bits, at least 2**15, or 0.
    a_exponent, b_exponent, exponent : signed, 10 bits; 0 of 0.
    """

    latency, multipliers = 2, 1

    def __init__(self):
        mantissa, exponent = _MANTISSA_BITS, signed(_EXPONENT_BITS)
        super().__init__(
            {
                "a_mantissa": In(mantissa),
                "a_exponent": In(exponent),
                "b_mantissa": In(mantissa),
                "b_exponent": In(exponent),
                "mantissa": Out(mantissa),
                "exponent": Out(exponent),
            }
        )

    def elaborate(self, platform) -> Module:
        """Product; its upper or next 16 bits."""
        m = Module()
        product, total = Signal(2 * _MANTISSA_BITS), Signal(signed(_EXPONENT_BITS + 1))
        m.d.sync += [
            product.eq(self.a_mantissa * self.b_mantissa),
            total.eq(self.a_exponent + self.b_exponent),
        ]
        large = product[-1]
        m.d.sync += [
            self.mantissa.eq(Mux(large, product[16:], product[15:-1])),
            self.exponent.eq(Mux(product.any(), total + 15 + large, 0)),
        ]
        return m


def _held(m: Module, leading: list[tuple[int, Signal]]) -> list[tuple[int, Signal]]:
    """The flags of steps taken so far, one edge later."""
    return [(step, delayed(m, empty, 1, f"empty{step}_held")) for step, empty in leading]
