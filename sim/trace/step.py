"""``Step``: the ops of one step of a decoder, built block by block.

Operations per element of vector ops are counted from their formulas: RMSNorm 3 (square-add, two multiplies), softmax 5
(scale and maximum, subtract, exponential, sum, multiply), RoPE 3 (two multiplies, one add), SiLU-gate 5 (exponential,
add, divide, two multiplies), squared-ReLU-gate 3, GELU-gate 8 (tanh form), quantize 2 (maximum, multiply), residual 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from quant.manifest import Manifest
from quant.shapes import Gemm, ModelShape
from sim.result import Statistics
from sim.trace.linears import linear_ops
from sim.trace.ops import AttentionOp, EmbeddingOp, Formats, LinearOp, Op, VectorOp
from sim.trace.statistics import Order

__all__ = ["HEAD_OPS", "Step"]

HEAD_OPS = ("final_norm", "lm_head")  # run once per sequence, after the last chunk of its prompt

_GATE_OPERATIONS = {"silu": 5, "relu2": 3, "gelu": 8}
_NORM_OPERATIONS, _ROPE_OPERATIONS, _QUANTIZE_OPERATIONS = 3, 3, 2


@dataclass(frozen=True)
class Step:
    """One step, or ``steps`` equal ones: ``queries`` new tokens of each sequence behind ``past`` cached ones.

    ``statistics``: kind of linear -> measured operands.
    """

    name: Order
    shape: ModelShape
    queries: int
    past: int
    steps: int
    batch: int
    formats: Formats
    manifest: Manifest | None
    statistics: Mapping[str, Statistics]

    @property
    def tokens(self) -> int:
        """Of the whole batch."""
        return self.queries * self.batch

    def ops(self) -> list[Op]:
        """Embedding, the layers' ops, final norm and lm_head, in order; a layer's ops carry ``count`` = layers."""
        hidden = self.shape.hidden_size
        return [
            EmbeddingOp(tokens=self.tokens, row_bits=hidden * self.formats.embedding_bits),
            *self._attention_block(),
            *self._mlp_block(),
            self._norm("final_norm", hidden).model_copy(update={"count": 1, "tokens": self.batch}),
            LinearOp(name="lm_head", count=1, gemm=Gemm(self.batch, self.shape.vocab_size, hidden)),
        ]

    def _attention_block(self) -> list[Op]:
        """Norm, projections, rotary embedding, cache, products, output projection, residual."""
        shape = self.shape
        hidden, q_width, kv_width = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        qkv_width = q_width + 2 * kv_width
        rotated = q_width + kv_width
        return [
            self._norm("attention_norm", hidden),
            *self._quantize("attention_input", hidden),
            *self._linear("q_proj"),
            *self._linear("k_proj"),
            *self._linear("v_proj"),
            *([self._vector("qkv_bias", qkv_width, qkv_width, qkv_width)] if shape.qkv_bias else []),
            self._vector("rope", rotated, rotated, _ROPE_OPERATIONS * rotated),
            self._kv_cache_write(2 * kv_width),
            self._attention("attention_scores"),
            self._attention("softmax"),
            self._attention("attention_values"),
            *([self._norm("attention_sub_norm", q_width)] if shape.sub_norms else []),
            *self._quantize("o_proj_input", q_width),
            *self._linear("o_proj"),
            self._vector("attention_residual", 2 * hidden, hidden, hidden),
        ]

    def _mlp_block(self) -> list[Op]:
        """Norm, gate and up projections, gate, down projection, residual."""
        hidden, inner = self.shape.hidden_size, self.shape.intermediate_size
        return [
            self._norm("mlp_norm", hidden),
            *self._quantize("mlp_input", hidden),
            *self._linear("gate_proj"),
            *self._linear("up_proj"),
            self._vector("gate", 2 * inner, inner, _GATE_OPERATIONS[self.shape.activation] * inner),
            *([self._norm("mlp_sub_norm", inner)] if self.shape.sub_norms else []),
            *self._quantize("down_proj_input", inner),
            *self._linear("down_proj"),
            self._vector("mlp_residual", 2 * hidden, hidden, hidden),
        ]

    def _linear(self, kind: str) -> list[LinearOp]:
        return linear_ops(self.name, kind, self.shape, self.tokens, self.manifest, self.statistics)

    def _vector(self, label: str, width_in: int, width_out: int, operations: int) -> VectorOp:
        """Element operations of every layer; widths and operations per token."""
        return VectorOp(
            name=label,
            count=self.shape.layers,
            tokens=self.tokens,
            input_bits=width_in * self.formats.residual_bits,
            output_bits=width_out * self.formats.residual_bits,
            operations=operations,
        )

    def _norm(self, label: str, width: int) -> VectorOp:
        return self._vector(label, width, width, _NORM_OPERATIONS * width)

    def _quantize(self, label: str, width: int) -> list[VectorOp]:
        """To the format of the linears' inputs, where that is another one than the residual's."""
        if self.formats.activation_bits == self.formats.residual_bits:
            return []
        op = self._vector(f"quantize_{label}", width, width, _QUANTIZE_OPERATIONS * width)
        return [op.model_copy(update={"output_bits": width * self.formats.activation_bits})]

    def _kv_cache_write(self, width: int) -> VectorOp:
        """K and V of the new tokens to DRAM, quantized where the cache is narrower than the residual."""
        operations = _QUANTIZE_OPERATIONS * width if self.formats.kv_bits < self.formats.residual_bits else 0
        op = self._vector("kv_cache_write", width, 0, operations)
        return op.model_copy(update={"dram_write_bits": width * self.formats.kv_bits})

    def _attention(self, label: Literal["attention_scores", "softmax", "attention_values"]) -> AttentionOp:
        shape = self.shape
        return AttentionOp(
            name=label,
            count=shape.layers,
            batch=self.batch,
            queries=self.queries,
            past=self.past,
            steps=self.steps,
            kv_heads=shape.kv_heads,
            group=shape.heads // shape.kv_heads,
            head_dim=shape.head_dim,
            window=shape.sliding_window,
        )
