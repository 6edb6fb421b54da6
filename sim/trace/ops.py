"""Ops of a trace: linears, attention, vector work and table reads, each with its shape and how often it runs."""

from typing import Annotated, Literal

from pydantic import Field

from hw.division import ceil_divide
from hw.document import Record
from hw.formats import MAX_PLANES, STORED_SCALE_BITS, DigitCount, digit_vector_bytes
from quant.shapes import Gemm
from sim.result import Statistics

__all__ = [
    "SOFTCAP_OPERATIONS",
    "AttentionOp",
    "EmbeddingOp",
    "Formats",
    "KvDigits",
    "LinearOp",
    "Op",
    "Positive",
    "VectorOp",
]

SOFTCAP_OPERATIONS = 6  # per element, see sim.trace.step

Positive = Annotated[int, Field(ge=1)]


class KvDigits(Record):
    """K and V in DRAM as balanced-ternary digits, a plane of weights each, with a scale per token and head."""

    key_digits: DigitCount
    value_digits: DigitCount
    rotate: bool  # q and k pass the Walsh-Hadamard transform over the head before they are quantized
    lanes: Positive  # elements of a head that share bytes, see ``hw.formats.digit_vector_bytes``

    def key_bytes(self, head_dim: int) -> int:
        """Of one token's digits of K in one head."""
        return digit_vector_bytes(head_dim, self.key_digits, self.lanes)

    def value_bytes(self, head_dim: int) -> int:
        """Of one token's digits of V in one head."""
        return digit_vector_bytes(head_dim, self.value_digits, self.lanes)

    def token_bits(self, head_dim: int) -> int:
        """Of one token in one head: digits of K and V, and the scale of each."""
        return 8 * (self.key_bytes(head_dim) + self.value_bytes(head_dim)) + 2 * STORED_SCALE_BITS


class Formats(Record):
    """Bits of what is stored beside the decoder linears' weights."""

    activation_bits: Literal[8, 16] = 8  # inputs of linears; 8 costs a quantize op before each
    kv_bits: Literal[4, 8, 16] = 16  # an element of the KV cache in DRAM
    digits: KvDigits | None = None  # the KV cache in digits instead, so that a ternary array multiplies it
    head_bits: Literal[4, 8, 16] = 8  # lm_head weights
    head_digits: Annotated[int, Field(ge=1, le=MAX_PLANES)] | None = None  # lm_head in balanced-ternary digits instead
    embedding_bits: Literal[2, 4, 8, 16] = 16  # 2: trits
    zero_fraction: Annotated[float, Field(ge=0, lt=1)] | None = None  # of the trits of linears that nothing measured
    residual_bits: Literal[16] = 16  # outputs of linears and everything on the vector unit

    def cached_bits(self, head_dim: int) -> int:
        """Bits in DRAM of one token's K and V in one head."""
        return self.digits.token_bits(head_dim) if self.digits else 2 * head_dim * self.kv_bits


class LinearOp(Record):
    """``count`` GEMMs of one shape, weights from the model; ``lm_head`` among them."""

    kind: Literal["linear"] = "linear"
    name: str
    count: Positive
    gemm: Gemm
    planes: Positive = 1
    plane_columns: tuple[Positive, ...] = ()  # positions of K that each plane runs over; none: all of them
    digits: bool = False  # the planes are digits of one weight, with one scale: plane p weighs 3**p
    group: Positive | None = None  # columns per partial sum that has a scale of its own; None: one sum per row
    scale_groups: Positive = 1  # scales per row and plane that are multiplies; power-of-two scales are shifts
    offset_groups: Annotated[int, Field(ge=0)] = 0  # offsets per row: each takes the sum of its group's activations
    scale_bits: Annotated[float, Field(ge=0)] = 0.0  # stored scales, offsets and constants of outputs
    # Non-ternary weights, multiplied on the vector unit: products per token, and their stored bits.
    float_macs: Annotated[float, Field(ge=0)] = 0.0  # low-rank correction, float16
    int8_macs: Annotated[float, Field(ge=0)] = 0.0  # weights kept at 8 bits
    side_bits: Annotated[float, Field(ge=0)] = 0.0
    permuted: bool = False  # columns in an order of their own: the inputs are gathered into it
    statistics: Statistics | None = None  # None: dense weights of the array's own format

    @property
    def passes(self) -> float:
        """Planes, one that runs over a share of K counting that share."""
        return sum(self.plane_columns) / self.gemm.k if self.plane_columns else self.planes

    @property
    def scales(self) -> int:
        """Multiplies by a scale per output: one for each plane of each group that it runs over."""
        if not self.plane_columns or self.scale_groups == 1 or self.group is None:
            return self.planes * self.scale_groups
        return sum(ceil_divide(columns, self.group) for columns in self.plane_columns)


class AttentionOp(Record):
    """Products of ``queries`` tokens per sequence with a KV cache that grows by them in each of ``steps``."""

    kind: Literal["attention"] = "attention"
    name: Literal["attention_scores", "softmax", "attention_values"]
    count: Positive  # layers
    batch: Positive
    queries: Positive
    past: Annotated[int, Field(ge=0)]  # cached tokens before the first step
    steps: Positive
    kv_heads: Positive
    group: Positive  # query heads per KV head
    head_dim: Positive
    window: Positive | None = None
    softcap: bool = False  # scores pass c tanh(x / c) before softmax


class VectorOp(Record):
    """Element operations on the vector unit, per token."""

    kind: Literal["vector"] = "vector"
    name: str
    count: Positive
    tokens: Positive
    input_bits: int  # per token
    output_bits: int  # per token
    operations: int  # per token
    dram_write_bits: int = 0  # per token, always to DRAM (the KV cache)


class EmbeddingOp(Record):
    """Rows of the embedding table read from DRAM."""

    kind: Literal["embedding"] = "embedding"
    name: Literal["embedding"] = "embedding"
    count: Positive = 1
    tokens: Positive
    row_bits: Positive


Op = Annotated[LinearOp | AttentionOp | VectorOp | EmbeddingOp, Field(discriminator="kind")]
