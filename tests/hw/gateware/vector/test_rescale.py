"""The rescaler against its sentence, proved for every value and shift: rounding at each end, flags, floors, bypass."""

import pytest
from amaranth import Array, Cat, Const, Module, Mux, ResetSignal, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.gateware.vector import rescale
from hw.gateware.vector.rescale import Rescaler
from hw.token.formats import MAX_SHIFT
from tests.hw.gateware.proof import prove
from tests.hw.seeded import mutated

_WIDTHS = (17, 24, 32)
FORMS = {  # width, bits, shift_bits and the rest, as blocks have them
    "plain": (41, 24, 12),
    "sixteen bits": (41, 16, 7),
    "floors and passes": (41, 24, 12, True, (), True),
    "of three widths": (42, 32, 12, False, _WIDTHS),
    "as wide as its result": (24, 24, 7),
    "narrower than its result": (20, 24, 7),
}


class RescalerSpec(Component):
    """``ok``: two edges behind any inputs the result is their quotient, rounded and clipped, unless a reset came."""

    def __init__(self, form, block=Rescaler):
        self.inner = inner = block(*form)
        self.bits = form[1]
        super().__init__(
            {
                "value": In(signed(form[0])), "shift": In(signed(form[2])), "down": In(1), "code": In(range(3)),
                "instead": In(1), "other": In(signed(self.bits)), "ok": Out(1),
            }
        )  # fmt: skip
        self.modes = [name for name in ("down", "code", "instead", "other") if name in inner.signature.members]

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.inner = inner = self.inner
        m.d.comb += [inner.value.eq(self.value), inner.shift.eq(self.shift)]
        m.d.comb += [getattr(inner, name).eq(delayed(m, getattr(self, name), 1, name)) for name in self.modes]
        moved = Cat(Const(0, MAX_SHIFT + 1), self.value).as_signed() >> self.shift[:6]
        floor, half, rest = moved[MAX_SHIFT + 1 :].as_signed(), moved[MAX_SHIFT], moved[:MAX_SHIFT].any()
        up = half & (rest | floor[0]) & ~(self.down if "down" in self.modes else 0)
        number = Mux(self.shift > MAX_SHIFT, 0, floor + up)
        ends = Array(Const((1 << bits - 1) - 1, signed(33)) for bits in self.inner.widths or (self.bits,))
        high = ends[self.code if self.inner.widths else 0]
        low = ~high
        over = (self.value > 0) & Mux(self.shift < 0, 1, number > high)
        under = (self.value < 0) & Mux(self.shift < 0, 1, number < low)
        result = Mux(over, high, Mux(under, low, Mux(self.value == 0, 0, number)))
        if "instead" in self.modes:
            result = Mux(self.instead, self.other, result)
        wanted, flag = Signal(signed(self.bits)), Signal()
        m.d.comb += [wanted.eq(result), flag.eq(over | under)]
        reset = delayed(m, ResetSignal(), 1, "reset", reset_less=True) | delayed(m, ResetSignal(), 2, "resets", True)
        known = delayed(m, self.code < len(_WIDTHS), 2, "known")
        same = (inner.result == delayed(m, wanted, 2, "wanted")) & (inner.saturated == delayed(m, flag, 2, "flag"))
        m.d.comb += self.ok.eq(same | reset | ~known)
        return m


@pytest.mark.parametrize("form", FORMS)
def test_every_value_is_rounded_and_clipped_at_every_shift(form, tmp_path):
    prove(RescalerSpec(FORMS[form]), tmp_path, 4, from_reset=False)


@pytest.mark.parametrize(
    ("form", "old", "new"),
    [
        ("plain", "Mux(carry, above[1:].all() & ~above[0], ~above.any())", "~above.any()"),
        ("plain", "carry = up & floor[: bits - 1].all()", "carry = Const(0, 1)"),
        ("plain", "beyond & ~(held.any() | held_lost)", "beyond & ~held.any()"),
        ("plain", "sticky.eq(lost | (wanted & whole[:step].any()))", "sticky.eq(wanted & whole[:step].any())"),
        ("floors and passes", "up = up & ~self.down", "up = up"),
        ("floors and passes", "Mux(self.instead, self.other, result)", "result"),
        ("of three widths", "over, low, high = ends[0] if len(ends) == 1 else", "over, low, high = ends[-1] if 1 else"),
    ],
)
def test_a_mutated_copy_is_found(form, old, new, tmp_path):
    copy = mutated(rescale, old, new)
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(RescalerSpec(FORMS[form], copy["Rescaler"]), tmp_path, 4, from_reset=False)
