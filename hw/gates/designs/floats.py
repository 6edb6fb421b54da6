"""Floating-point hardware of the baselines: exact multiplier, adder that rounds to nearest even, alignment.

Subnormals are flushed to zero; infinities and NaN are not handled (hardware for them would cost the baselines more).
"""

from dataclasses import dataclass

from amaranth import Cat, Const, Module, Mux, Signal, Value

from hw.arithmetic.compressors import add_rows, compress, products

__all__ = [
    "BF16",
    "FP16",
    "FP32",
    "FloatFormat",
    "add",
    "fields",
    "leading_zeros",
    "maximum",
    "multiply",
    "pack",
    "shift_right",
]


@dataclass(frozen=True)
class FloatFormat:
    """Sign, exponent and fraction, IEEE 754 style: value = (1 + fraction / 2^fraction_bits) x 2^(exponent - bias)."""

    name: str
    exponent_bits: int
    fraction_bits: int

    @property
    def bits(self) -> int:
        """Stored bits."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def bias(self) -> int:
        """Exponent bias."""
        return 2 ** (self.exponent_bits - 1) - 1


FP16 = FloatFormat("fp16", 5, 10)
BF16 = FloatFormat("bf16", 8, 7)
FP32 = FloatFormat("fp32", 8, 23)


def fields(value: Value, fmt: FloatFormat) -> tuple[Value, Value, Value]:
    """Sign, exponent and significand (hidden one included; 0 for zero and subnormals)."""
    fraction, exponent = value[: fmt.fraction_bits], value[fmt.fraction_bits : -1]
    nonzero = exponent.any()
    return value[-1], exponent, Cat(fraction & nonzero.replicate(fmt.fraction_bits), nonzero)


def multiply(m: Module, a: Value, b: Value, fmt: FloatFormat, name: str) -> tuple[Value, Value, Value]:
    """Exact product: sign, biased exponent sum (0 for a zero product), significand of 2 x (fraction_bits + 1) bits."""
    sign_a, exponent_a, significand_a = fields(a, fmt)
    sign_b, exponent_b, significand_b = fields(b, fmt)
    columns, _ = products(significand_a, significand_b, signed=False)
    width = 2 * (fmt.fraction_bits + 1)
    product = Signal(width, name=f"{name}_product")
    m.d.comb += product.eq(add_rows(m, compress(m, columns, f"{name}_fa"), width, f"{name}_ripple"))
    nonzero = exponent_a.any() & exponent_b.any()
    exponent = Signal(fmt.exponent_bits + 1, name=f"{name}_exponent")
    m.d.comb += exponent.eq(Mux(nonzero, exponent_a + exponent_b, 0))
    return sign_a ^ sign_b, exponent, product


def pack(m: Module, sign: Value, exponent: Value, significand: Value, fmt: FloatFormat, name: str) -> Signal:
    """Round a significand in [1, 2) (its top bit is the one) to nearest even, flush what is too small.

    ``exponent``: signed, biased for ``fmt``; a significand whose top bit is 0 is zero.
    """
    extra = len(significand) - 1 - fmt.fraction_bits
    if extra > 0:
        fraction, rest = significand[extra:-1], significand[:extra]
        sticky = rest[:-1].any() if extra > 1 else Const(0, 1)
        up = rest[-1] & (sticky | fraction[0])
    else:
        fraction, up = Cat(Const(0, -extra), significand[:-1]), Const(0, 1)
    normal = significand[-1] & (exponent > 0)
    magnitude = Signal(fmt.bits - 1, name=f"{name}_magnitude")
    m.d.comb += magnitude.eq(Cat(fraction, exponent[: fmt.exponent_bits]) + up)
    result = Signal(fmt.bits, name=f"{name}_packed")
    m.d.comb += result.eq(Cat(magnitude, sign) & normal.replicate(fmt.bits))
    return result


def shift_right(m: Module, value: Value, amount: Value, name: str) -> tuple[Value, Value]:
    """``value >> amount`` and whether a one was lost; amounts beyond the width give 0."""
    width = len(value)
    lost: Value = Const(0, 1)
    for i in range(len(amount)):
        step = 1 << i
        dropped = value[:step] if step < width else value
        lost = lost | (amount[i] & dropped.any())
        moved = Signal(width, name=f"{name}_{i}")
        m.d.comb += moved.eq(Mux(amount[i], value[step:] if step < width else 0, value))
        value = moved
    return value, lost


def leading_zeros(m: Module, value: Value, name: str) -> tuple[Value, Value]:
    """Count of zeros above the highest one and ``value`` shifted up by it, by halving steps (0 stays 0)."""
    counts = []
    width = len(value)
    for i in reversed(range((width - 1).bit_length())):
        step = 1 << i
        empty = Signal(name=f"{name}_empty_{i}")
        moved = Signal(width, name=f"{name}_{i}")
        m.d.comb += empty.eq(~value[width - step :].any() if step < width else 0)
        m.d.comb += moved.eq(Mux(empty, Cat(Const(0, step), value[: width - step]), value))
        counts.append(empty)
        value = moved
    return Cat(*reversed(counts)), value


def add(m: Module, a: Value, b: Value, fmt: FloatFormat, name: str) -> Signal:
    """``a + b`` rounded once: swap, align with guard, round and sticky bits, add or subtract, normalize, round."""
    swap = Signal(name=f"{name}_swap")
    m.d.comb += swap.eq(b[:-1] > a[:-1])
    big, small = Signal(fmt.bits, name=f"{name}_big"), Signal(fmt.bits, name=f"{name}_small")
    m.d.comb += [big.eq(Mux(swap, b, a)), small.eq(Mux(swap, a, b))]
    sign, exponent, significand = fields(big, fmt)
    small_sign, small_exponent, small_significand = fields(small, fmt)
    distance = Signal(fmt.exponent_bits, name=f"{name}_distance")
    m.d.comb += distance.eq(exponent - small_exponent)
    width = fmt.fraction_bits + 4
    stages = width.bit_length()
    far = distance[stages:].any()
    aligned, lost = shift_right(m, Cat(Const(0, 3), small_significand), distance[:stages], f"{name}_align")
    operand = Signal(width, name=f"{name}_operand")
    sticky = lost | (far & small_significand[-1])
    m.d.comb += operand.eq(Cat(aligned[0] & ~far | sticky, aligned[1:] & (~far).replicate(width - 1)))
    subtract = sign ^ small_sign
    total = Signal(width + 1, name=f"{name}_total")
    inverted = operand ^ subtract.replicate(width)
    m.d.comb += total.eq(
        (Cat(1, Const(0, 3), significand, 0) + Cat(subtract, inverted, subtract))[1 : width + 2]
    )  # one adder, the 1 of a subtraction carried in
    zeros, normal = leading_zeros(m, total, f"{name}_normalize")
    return pack(m, sign, (exponent + 1 - zeros).as_signed(), normal, fmt, name)


def maximum(m: Module, values: list[Value], name: str) -> Value:
    """The largest of unsigned values, by a tree of comparisons."""
    level = 0
    while len(values) > 1:
        pairs = list(zip(values[::2], values[1::2], strict=False))
        larger = []
        for i, (a, b) in enumerate(pairs):
            winner = Signal(max(len(a), len(b)), name=f"{name}_{level}_{i}")
            m.d.comb += winner.eq(Mux(a > b, a, b))
            larger.append(winner)
        values = larger + values[2 * len(pairs) :]
        level += 1
    return values[0]
