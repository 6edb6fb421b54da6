"""The requantizer: an accumulator becomes int8 by a fixed-point scale, rounded half to even and saturated.

It is the one place of the core where numbers are multiplied: once per output and token, not per weight.
Ref: Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference"
(2018), section 2.2: a real scale as an integer multiplier and a shift; rounding is half to even here.
"""

from amaranth import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hw.arithmetic.registers import delayed
from hw.config import ArrayConfig
from hw.formats import INT8_LIMIT, SCALE_BITS, SHIFT_BITS
from hw.gateware.ports import results_layout, scales_layout, sums_layout

__all__ = ["Requantizer", "RequantizerColumn", "rounded", "shifted"]


class RequantizerColumn(Component):
    """``result = clip(round_half_even((sum * multiplier + x_sum * offset) / 2**shift), -127, 127)``.

    One result per edge; latency 4 registers, 5 with ``offsets``. ``shift`` must not change while a value is inside.

    Members
    -------
    sum, x_sum : signed, ``sum_bits``.
    multiplier, offset : signed, ``scale_bits``.
    shift : 0 to 63.
    result : int8.
    """

    def __init__(self, sum_bits: int, scale_bits: int = SCALE_BITS, offsets: bool = False):
        self.offsets = offsets
        self.product_shape = signed(sum_bits + scale_bits)
        scale, total = signed(scale_bits), signed(sum_bits)
        super().__init__(
            {"sum": In(total), "multiplier": In(scale), "shift": In(SHIFT_BITS), "result": Out(signed(8))}
            | ({"x_sum": In(total), "offset": In(scale)} if offsets else {})
        )

    def elaborate(self, platform) -> Module:
        """Operands, product, (sum of two products,) shift, rounding: each ends in a register."""
        m = Module()
        value = self._product(m, self.sum, self.multiplier, "")
        if self.offsets:
            both = Signal(signed(len(value) + 1))
            m.d.sync += both.eq(value + self._product(m, self.x_sum, self.offset, "x_"))
            value = both
        quotient = Signal(signed(8))
        guard = Signal()
        sticky = Signal()
        m.d.sync += [
            part.eq(new) for part, new in zip((quotient, guard, sticky), shifted(m, value, self.shift), strict=True)
        ]
        m.d.sync += self.result.eq(rounded(quotient, guard, sticky))
        return m

    def _product(self, m: Module, value: Value, scale: Value, prefix: str) -> Signal:
        """The product, two registers after its factors."""
        a, b = Signal(value.shape(), name=f"{prefix}value"), Signal(scale.shape(), name=f"{prefix}scale")
        product = Signal(self.product_shape, name=f"{prefix}product")
        m.d.sync += [a.eq(value), b.eq(scale), product.eq(a * b)]
        return product


def shifted(m: Module, value: Value, shift: Value) -> tuple[Value, Value, Value]:
    """``value / 2**shift`` as floor, first bit behind the point, and whether any later bit is 1.

    The floor is clipped to -128..127, which changes no rounded result within -127..127.
    """
    whole, lost = Cat(Const(0, 1), value).as_signed(), Const(0, 1)  # with a place for the bit behind the point
    for place in reversed(range(len(shift))):
        step, fewer, more = 1 << place, Signal.like(whole, name=f"by{place}"), Signal(name=f"lost{place}")
        m.d.comb += [
            fewer.eq(Mux(shift[place], whole >> step, whole)),
            more.eq(lost | (shift[place] & whole[:step].any())),
        ]
        whole, lost = fewer, more
    floor = whole[1:].as_signed()
    sign = floor[-1]
    fits = (floor[7:] == sign.replicate(len(floor) - 7)) if len(floor) > 8 else Const(1, 1)
    end = Cat((~sign).replicate(7), sign)  # 127 or -128
    return Mux(fits, floor[:8], end).as_signed(), whole[0], lost


def rounded(floor: Value, guard: Value, sticky: Value) -> Value:
    """Round half to even, then saturate at plus and minus 127."""
    nearest = floor + (guard & (sticky | floor[0]))
    return Mux(nearest > INT8_LIMIT, INT8_LIMIT, Mux(nearest < -INT8_LIMIT, -INT8_LIMIT, nearest))


class Requantizer(Component):
    """Requantizes a beat of sums per edge; latency ``config.requantizer_stages`` registers.

    Members
    -------
    sums, valid : a beat; with ``sum_of_x`` its last sum is that of the activations.
    scales : of its columns, in time with it.
    shift : of the whole GEMM.
    results, results_valid : the beat as int8.
    """

    def __init__(self, config: ArrayConfig):
        self.config = config
        super().__init__(
            {
                "sums": In(sums_layout(config)),
                "valid": In(1),
                "scales": In(scales_layout(config)),
                "shift": In(SHIFT_BITS),
                "results": Out(results_layout(config)),
                "results_valid": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """A requantizer per column beside the delay of ``valid``."""
        m = Module()
        config = self.config
        results = []
        for index in range(config.cols):
            column = RequantizerColumn(config.accumulator_bits, offsets=config.sum_of_x)
            m.submodules[f"column{index}"] = column
            scale: data.View = self.scales[index]
            m.d.comb += [
                column.sum.eq(self.sums[index]),
                column.multiplier.eq(scale.multiplier),
                column.shift.eq(self.shift),
            ]
            if config.sum_of_x:
                m.d.comb += [column.x_sum.eq(self.sums[config.cols]), column.offset.eq(scale.offset)]
            results.append(column.result)
        valid = delayed(m, self.valid, config.requantizer_stages, "valid")
        m.d.comb += [self.results.as_value().eq(Cat(results)), self.results_valid.eq(valid)]
        return m
