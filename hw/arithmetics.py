"""``Arithmetic``: what one multiply-accumulate of an array multiplies, and everything that follows from it.

Gateware, simulator and energy model ask these objects instead of comparing names. A new arithmetic is an entry in
``ARITHMETICS`` with its name in ``Mac``, and a design in ``hw.gates`` where gate-level costs are wanted.
"""

from dataclasses import dataclass, replace
from typing import Literal

from hw.errors import InputError
from hw.trit import TRIT_BITS, Packing

__all__ = ["ARITHMETICS", "Arithmetic", "Mac", "VectorMac"]

Mac = Literal["ternary", "int8", "fp16", "w4a8", "w2a8", "w4a16"]
VectorMac = Literal["int8", "fp16"]  # what one lane of the vector unit multiplies

ProductOperator = Literal["int8_mul", "fp16_mul", "fp32_add"]  # of an operator table

_INT8_MAX = 127  # largest magnitude of an int8 operand: -128 is never used


@dataclass(frozen=True, kw_only=True)
class Arithmetic:
    """One format of weights and activations, and the multiply-accumulate that takes them."""

    name: Mac
    activation_bits: int = 8  # of one activation on its stream
    stored_bits: float | None  # of one stored weight; None: trits, by the array's packing
    largest_weight: int | None  # magnitude, for the width of exact sums; None: sums are floats and never overflow
    baseline_accumulator_bits: int | None  # of a baseline; None: as the array it is made from
    # What attention products and lm_head run as, whose operands are not weights of this format; None: not on the array
    dense_mac: Mac | None
    dense_passes: int = 1  # over the array: an 8-bit operand may take several, one per digit, summed as planes are
    output_scales: int | None = 1  # multiplies per output that dequantize it; None: as the quantization method says
    head_bits: Literal[8, 16] = 8  # of a weight of lm_head
    vector_mac: VectorMac = "int8"  # of such an array's vector unit
    # Costs from operator tables: the operators of a product, and the width of what it gives to an adder tree
    product_ops: tuple[ProductOperator, ...] = ()
    product_share: float = 1.0  # of the operators' energy, where the product is narrower than they are: derived
    term_bits: int | None  # None: products are summed by the last of ``product_ops``
    # Costs from gate-level tables: the name of the format in ``hw.gates.designs.candidates``
    gate_format: str

    @property
    def stores_trits(self) -> bool:
        """Whether weights are ternary planes: only these run in gateware, and have packings, planes and options."""
        return self.stored_bits is None

    @property
    def dense_bits(self) -> float:
        """Stored bits of one weight of lm_head on the array."""
        if self.dense_mac is None:
            raise InputError(f"mac must multiply dense operands to hold lm_head, not {self.name}")
        return self.dense_passes * (ARITHMETICS[self.dense_mac].stored_bits or 0)

    @property
    def is_float(self) -> bool:
        """Whether sums are floating point: no width of the accumulator limits K."""
        return self.largest_weight is None

    def weight_bits(self, packing: Packing) -> float:
        """Stored bits of one weight."""
        return TRIT_BITS[packing] if self.stored_bits is None else self.stored_bits

    def sum_bits(self, k: int, shift: int = 0) -> int:
        """Two's-complement bits that hold every sum over ``k`` lanes, each sum shifted left by ``shift`` at most."""
        return (_INT8_MAX * (self.largest_weight or 1) * k << shift).bit_length() + 1

    def max_k(self, accumulator_bits: int, shift: int = 0) -> int:
        """The largest K whose sums fit ``accumulator_bits``."""
        return (2 ** (accumulator_bits - 1) - 1) // (_INT8_MAX * (self.largest_weight or 1) << shift)


_TERNARY = Arithmetic(
    name="ternary",
    stored_bits=None,
    largest_weight=1,
    baseline_accumulator_bits=None,
    dense_mac=None,
    output_scales=None,
    term_bits=8,  # +x, -x or 0
    gate_format="ternary",
)
_INT8 = Arithmetic(
    name="int8",
    stored_bits=8.0,
    largest_weight=_INT8_MAX,
    baseline_accumulator_bits=32,
    dense_mac="int8",
    product_ops=("int8_mul",),
    term_bits=16,
    gate_format="int8",
)
_FP16 = Arithmetic(
    name="fp16",
    activation_bits=16,
    stored_bits=16.0,
    largest_weight=None,
    baseline_accumulator_bits=32,
    output_scales=0,  # outputs are what they are
    head_bits=16,
    vector_mac="fp16",
    dense_mac="fp16",
    product_ops=("fp16_mul", "fp32_add"),
    term_bits=None,
    gate_format="fp16-fp32",
)
# int8 activations x two's complement weights of 4 or 2 bits. K, V and lm_head at 8 bits pass as two digits of radix 16
# or four of radix 4, so that accumulators are as wide as an INT8 array's.
_W4A8 = Arithmetic(
    name="w4a8",
    stored_bits=4.0,
    largest_weight=_INT8_MAX,
    baseline_accumulator_bits=32,
    dense_mac="w4a8",
    dense_passes=2,
    product_ops=("int8_mul",),
    product_share=4 / 8,  # partial products
    term_bits=12,
    gate_format="int4",
)
_W2A8 = Arithmetic(
    name="w2a8",
    stored_bits=2.0,
    largest_weight=_INT8_MAX,
    baseline_accumulator_bits=32,
    dense_mac="w2a8",
    dense_passes=4,
    product_ops=("int8_mul",),
    product_share=2 / 8,
    term_bits=10,
    gate_format="int2",
)
# 4-bit weights become FP16 as they enter the array; FP16 operands of attention and lm_head pass it as they are.
_W4A16 = replace(_FP16, name="w4a16", stored_bits=4.0, output_scales=1)

ARITHMETICS: dict[Mac, Arithmetic] = {one.name: one for one in (_TERNARY, _INT8, _FP16, _W4A8, _W2A8, _W4A16)}
