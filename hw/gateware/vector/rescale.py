"""Rounding shift and saturation, the end of every kernel: ``hw.token.formats.rescaled``."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import registered
from hw.token.formats import MAX_SHIFT

__all__ = ["Rescaler", "clipped", "nearest"]

_SHIFT_BITS = 6  # of 0..47
_LATE_BITS = 2  # of them, whose places are behind the registers


class Rescaler(Component):
    """``value / 2**shift`` rounded half to even and saturated; one value per edge, latency 2 registers, no multiplier.

    Members
    -------
    value : signed, ``width`` bits.
    shift : signed, ``shift_bits`` bits, in time with ``value``; above 47 gives 0, below 0 saturates all but 0.
    result : signed, ``bits`` bits.
    saturated : 1 where ``result`` is not the rounded value.
    down : with ``floors`` alone; 1 gives the floor instead. Constant while values are under way.
    code : with ``widths`` alone, which of them the result saturates at. Constant while values are under way.
    instead, other : with ``passes`` alone; ``instead``: the result is ``other``, which comes an edge behind ``value``.
    """

    latency, multipliers = 2, 0

    def __init__(
        self, width: int, bits: int, shift_bits: int, floors: bool = False, widths: tuple[int, ...] = (),
        passes: bool = False,
    ):  # fmt: skip
        self.width, self.floors, self.widths, self.passes = width, floors, widths, passes
        super().__init__(
            {
                "value": In(signed(width)),
                "shift": In(signed(shift_bits)),
                "result": Out(signed(bits)),
                "saturated": Out(1),
            }
            | ({"down": In(1)} if floors else {})
            | ({"code": In(range(len(widths)))} if widths else {})
            | ({"instead": In(1), "other": In(signed(bits))} if passes else {})
        )

    def elaborate(self, platform) -> Module:
        """A logarithmic shifter, its last places behind registers; rounding beside the decision whether to clip."""
        m = Module()
        whole, lost = Cat(Const(0, 1), self.value).as_signed(), Const(0, 1)  # with a place for the first bit lost
        for place in reversed(range(_LATE_BITS, _SHIFT_BITS)):
            whole, lost = _shifted(m, whole, lost, self.shift[place], place)
        between = {
            "held": whole,
            "lost": lost,
            "shift": self.shift[:_LATE_BITS],
            "far": self.shift > MAX_SHIFT,
            "beyond": self.shift < 0,
        }
        held, held_lost, shift, far, beyond = (
            registered(m, value, f"{name}_held", reset_less=True) for name, value in between.items()
        )
        whole, rest = held, held_lost
        for place in reversed(range(_LATE_BITS)):
            whole, rest = _shifted(m, whole, rest, shift[place], place)
        floor, guard, zero = whole[1:].as_signed(), whole[0], Signal()
        m.d.comb += zero.eq(far | (beyond & ~(held.any() | held_lost)))
        up, value, clips = _up(floor, guard, rest), Signal.like(self.result), Signal()
        if self.floors:
            up = up & ~self.down
        ends = [(_clips(floor, up, bits), *_ends(bits)) for bits in self.widths or (len(self.result),)]
        over, low, high = ends[0] if len(ends) == 1 else (Array(kind)[self.code] for kind in zip(*ends, strict=True))
        m.d.comb += [clips.eq(beyond | over), value.eq(Mux(clips, Mux(floor[-1], low, high), floor + up))]
        result = Mux(zero, 0, value)
        if self.passes:
            result = Mux(self.instead, self.other, result)
        m.d.sync += [self.result.eq(result), self.saturated.eq(~zero & clips)]
        return m


def _shifted(m: Module, whole: Value, lost: Value, wanted: Value, place: int) -> tuple[Value, Value]:
    """One place of the shifter: what is left, and whether a bit behind the first lost one is 1."""
    step, moved, sticky = 1 << place, Signal.like(whole, name=f"by{place}"), Signal(name=f"lost{place}")
    m.d.comb += [
        moved.eq(Mux(wanted, whole >> step, whole)),
        sticky.eq(lost | (wanted & whole[:step].any())),
    ]
    return moved, sticky


def _clips(floor: Value, up: Value, bits: int) -> Value:
    """Whether ``floor + up`` has more than ``bits`` bits, told without waiting for the sum."""
    if len(floor) < bits:
        return Const(0, 1)
    above = Cat(floor, floor[-1])[bits - 1 :]  # all 0 or all 1 of what fits, with the carry of the bits below it
    carry = up & floor[: bits - 1].all()
    return ~(above.all() | Mux(carry, above[1:].all() & ~above[0], ~above.any()))


def _up(floor: Value, guard: Value, rest: Value) -> Value:
    """Whether the nearest integer is the one above the floor, half to even."""
    return guard & (rest | floor[0])


def nearest(floor: Value, guard: Value, rest: Value) -> Value:
    """A floor with its first lost bit and whether any later one is 1, rounded half to even."""
    return floor + _up(floor, guard, rest)


def clipped(value: Value, bits: int) -> tuple[Value, Value]:
    """A signed value within ``bits`` bits, and whether it had to be clipped."""
    if len(value) <= bits:
        return value, Const(0, 1)
    low, high = _ends(bits)
    clips = value[bits - 1 : -1] != value[-1].replicate(len(value) - bits)
    return Mux(clips, Mux(value[-1], low, high), value[:bits].as_signed()), clips


def _ends(bits: int) -> tuple[Const, Const]:
    return Const(-(1 << bits - 1), signed(bits)), Const((1 << bits - 1) - 1, signed(bits))
