"""The vector unit's blocks by name, each with what it computes and how it is made."""

from collections.abc import Callable
from typing import NamedTuple

from amaranth.lib.wiring import Component

from hw.gateware.vector.dequantize import DequantizerLane
from hw.gateware.vector.exponential import ExponentialLane
from hw.gateware.vector.hadamard import HadamardTransformer
from hw.gateware.vector.norm import NormLane, SquareLane
from hw.gateware.vector.output import OutputAccumulator, OutputNormalizer, RowMaximum, WeightLane
from hw.gateware.vector.quantize import QuantizerLane
from hw.gateware.vector.residual import ResidualAdder
from hw.gateware.vector.rope import RotaryPair
from hw.gateware.vector.scalar import Divider, SquareRoot
from hw.gateware.vector.scale import ScaleMultiplier, ScaleOf
from hw.gateware.vector.silu import GluLane
from hw.gateware.vector.table import Argmax, EmbeddingLane
from hw.token.decoder import FRACTION
from hw.token.formats import OPERAND_BITS

__all__ = ["BLOCKS", "VectorBlock"]


class VectorBlock(NamedTuple):
    """``does``: its result in a few words; ``rate``: what it takes per edge; ``make``: a new one."""

    does: str
    rate: str
    make: Callable[[], Component]


BLOCKS: dict[str, VectorBlock] = {
    "embedding": VectorBlock("an element of the embedding table's row", "element", EmbeddingLane),
    "dequantize": VectorBlock("a sum of the array times two scales, 32-bit word", "element", DequantizerLane),
    "score": VectorBlock(
        "the same as a score, or the most negative one where masked",
        "element",
        lambda: DequantizerLane(OPERAND_BITS, scores=True),
    ),
    "exponential": VectorBlock("a power of two of a score below the running maximum", "element", ExponentialLane),
    "row-maximum": VectorBlock("a row's maximum, rounded up to a power of two, and J", "row", RowMaximum),
    "weight": VectorBlock("a power times the stored scale of its token's V", "token", WeightLane),
    "accumulate": VectorBlock("an output at the new maximum, plus the block's sum", "element", OutputAccumulator),
    "normalize": VectorBlock("an output over the row's total", "element", OutputNormalizer),
    "quantize": VectorBlock("a word as a small integer, by the row's reciprocal", "element", QuantizerLane),
    "square": VectorBlock("a shifted word squared, for the root mean square", "element", SquareLane),
    "norm": VectorBlock("a shifted word times the norm's gain", "element", NormLane),
    "rotary": VectorBlock("two neighbouring elements turned by a position", "pair", RotaryPair),
    "hadamard": VectorBlock("the Walsh-Hadamard transform of 8 words", "8 words", lambda: HadamardTransformer(8)),
    "glu": VectorBlock("gate times sigmoid of gate times up", "element", lambda: GluLane(FRACTION)),
    "residual": VectorBlock("two words added, saturated", "element", ResidualAdder),
    "argmax": VectorBlock("the largest logit so far and its id", "logit", Argmax),
    "scale-of": VectorBlock("the top 16 bits of an integer as a scale", "value", ScaleOf),
    "scale-product": VectorBlock("two scales multiplied", "scale", ScaleMultiplier),
    "divider": VectorBlock("a quotient of 38 by 23 bits", "one bit", lambda: Divider(38, 23)),
    "root": VectorBlock("an integer square root of 32 bits", "one bit", SquareRoot),
}
