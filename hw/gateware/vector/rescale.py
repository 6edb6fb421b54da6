"""Rounding shift and saturation, the end of every kernel: ``hw.token.formats.rescaled``."""

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hw.token.formats import MAX_SHIFT

__all__ = ["Rescaler", "clipped", "nearest"]

_SHIFT_BITS = 6  # of 0..47


class Rescaler(Component):
    """``value / 2**shift`` rounded half to even and saturated; one value per edge, latency 2 registers, no multiplier.

    Members
    -------
    value : signed, ``width`` bits.
    shift : signed, ``shift_bits`` bits, in time with ``value``; above 47 gives 0, below 0 saturates all but 0.
    result : signed, ``bits`` bits.
    saturated : 1 where ``result`` is not the rounded value.
    down : with ``floors`` alone; 1 gives the floor instead. Constant while values are under way.
    """

    latency, multipliers = 2, 0

    def __init__(self, width: int, bits: int, shift_bits: int, floors: bool = False):
        self.width, self.floors = width, floors
        super().__init__(
            {
                "value": In(signed(width)),
                "shift": In(signed(shift_bits)),
                "result": Out(signed(bits)),
                "saturated": Out(1),
            }
            | ({"down": In(1)} if floors else {})
        )

    def elaborate(self, platform) -> Module:
        """A logarithmic shifter into registers; rounding and clipping into registers."""
        m = Module()
        whole, lost = Cat(Const(0, 1), self.value).as_signed(), Const(0, 1)  # with a place for the first bit lost
        for place in reversed(range(_SHIFT_BITS)):
            step, moved, sticky = 1 << place, Signal.like(whole, name=f"by{place}"), Signal(name=f"lost{place}")
            m.d.comb += [
                moved.eq(Mux(self.shift[place], whole >> step, whole)),
                sticky.eq(lost | (self.shift[place] & whole[:step].any())),
            ]
            whole, lost = moved, sticky
        floor, guard, rest = Signal(signed(self.width)), Signal(), Signal()
        zero, beyond, negative = Signal(), Signal(), Signal()
        m.d.sync += [
            floor.eq(whole[1:].as_signed()),
            guard.eq(whole[0]),
            rest.eq(lost),
            zero.eq((self.value == 0) | (self.shift > MAX_SHIFT)),
            beyond.eq(self.shift < 0),
            negative.eq(self.value[-1]),
        ]
        counts = guard & ~self.down if self.floors else guard
        value, clips = clipped(nearest(floor, counts, rest), len(self.result))
        low, high = _ends(len(self.result))
        m.d.sync += [
            self.result.eq(Mux(zero, 0, Mux(beyond, Mux(negative, low, high), value))),
            self.saturated.eq(~zero & (beyond | clips)),
        ]
        return m


def nearest(floor: Value, guard: Value, rest: Value) -> Value:
    """A floor with its first lost bit and whether any later one is 1, rounded half to even."""
    return floor + (guard & (rest | floor[0]))


def clipped(value: Value, bits: int) -> tuple[Value, Value]:
    """A signed value within ``bits`` bits, and whether it had to be clipped."""
    if len(value) <= bits:
        return value, Const(0, 1)
    low, high = _ends(bits)
    clips = value[bits - 1 : -1] != value[-1].replicate(len(value) - bits)
    return Mux(clips, Mux(value[-1], low, high), value[:bits].as_signed()), clips


def _ends(bits: int) -> tuple[Const, Const]:
    return Const(-(1 << bits - 1), signed(bits)), Const((1 << bits - 1) - 1, signed(bits))
