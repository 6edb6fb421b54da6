"""``Step``: the ops of one step of a decoder, built block by block.

Operations per element of vector ops are counted from their formulas: RMSNorm 3 (square-add, two multiplies), softmax 5
(scale and maximum, subtract, exponential, sum, multiply), RoPE 3 (two multiplies, one add), SiLU-gate 5 (exponential,
add, divide, two multiplies), squared-ReLU-gate 3, GELU-gate 8 (tanh form), quantize 2 (maximum, multiply), residual 1
(2 with a constant factor), soft cap 6 (c tanh(x / c) = c - 2 c / (exp(2 x / c) + 1): multiply, exponential, add,
divide, multiply, subtract). Where K and V are digits: Walsh-Hadamard an addition per stage, digits of an element 3
(maximum, multiply, the table of its trits), queries to int8 2.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hw.formats import INT8_BITS, STORED_SCALE_BITS
from hw.golden import hadamard_block
from quant.manifest import Manifest
from quant.shapes import Gemm, ModelShape
from sim.result import Statistics
from sim.trace.experts import GATE_OPERATIONS, QUANTIZE_OPERATIONS, mixture_ops
from sim.trace.linears import linear_ops
from sim.trace.ops import SOFTCAP_OPERATIONS, AttentionOp, EmbeddingOp, Formats, LinearOp, Op, VectorOp
from sim.trace.statistics import DIGIT_ZERO_FRACTION, Order, assumed_statistics

__all__ = ["HEAD_OPS", "Step"]

HEAD_OPS = (
    "final_norm",
    "quantize_lm_head_input",
    "lm_head",
    "logits_scale",
    "logit_softcap",
)  # run once per sequence, after the last chunk of its prompt

_NORM_OPERATIONS, _ROPE_OPERATIONS = 3, 3
_TRITS_OPERATIONS = 1  # an element's digits are looked up


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
        shape = self.shape
        hidden, vocabulary = shape.hidden_size, shape.vocab_size
        once = {"count": 1, "tokens": self.batch}
        return [
            EmbeddingOp(tokens=self.tokens, row_bits=hidden * self.formats.embedding_bits),
            *self._scaling("embedding", hidden, self.tokens),
            *self._attention_block(),
            *self._mlp_block(),
            self._norm("final_norm", hidden).model_copy(update=once),
            *self._lm_head(once),
            *self._scaling("logits", vocabulary, self.batch),
            *(
                [self._vector("logit_softcap", vocabulary, vocabulary, SOFTCAP_OPERATIONS * vocabulary, once)]
                if shape.logit_softcap
                else []
            ),
        ]

    def _lm_head(self, once: Mapping[str, int]) -> list[Op]:
        """In the head's format; in digits it runs on a ternary array as the other linears do, its inputs quantized."""
        gemm, digits = Gemm(self.batch, self.shape.vocab_size, self.shape.hidden_size), self.formats.head_digits
        if digits is None:
            return [LinearOp(name="lm_head", count=1, gemm=gemm)]
        statistics = assumed_statistics("decode")  # a token of each sequence: every issue brings new trits
        if digits > 1:
            statistics = assumed_statistics("decode", DIGIT_ZERO_FRACTION, "digits of weights evenly spread")
        head = LinearOp(name="lm_head", count=1, gemm=gemm, planes=digits, digits=digits > 1, statistics=statistics)
        return [
            *(op.model_copy(update=dict(once)) for op in self._quantize("lm_head_input", gemm.k)),
            head.model_copy(update={"scale_bits": float(STORED_SCALE_BITS * gemm.n)}),
        ]

    def _attention_block(self) -> list[Op]:
        """Norm, projections, rotary embedding, cache, products, output projection, residual."""
        shape = self.shape
        hidden, q_width, kv_width = shape.hidden_size, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
        rotated = (shape.heads + shape.kv_heads) * (shape.rotary_dim or shape.head_dim)
        turned = {"count": shape.layers - len(set(shape.layers_without_rope))}
        return [
            *([self._norm("attention_norm", hidden)] if shape.pre_norms else []),
            *self._quantize("attention_input", hidden),
            *self._linear("q_proj"),
            *self._linear("k_proj"),
            *self._linear("v_proj"),
            *self._bias("qkv_bias", q_width + 2 * kv_width, shape.qkv_bias),
            *([self._norm("query_key_norm", q_width + kv_width)] if shape.query_key_norm else []),
            *([self._vector("rope", rotated, rotated, _ROPE_OPERATIONS * rotated, turned)] if turned["count"] else []),
            *self._digit_operands(q_width, kv_width),
            self._kv_cache_write(2 * kv_width),
            *self._attention(),
            *([self._norm("attention_sub_norm", q_width)] if shape.sub_norms else []),
            *self._quantize("o_proj_input", q_width),
            *self._linear("o_proj"),
            *self._bias("o_bias", hidden, shape.o_bias),
            *([self._norm("attention_post_norm", hidden)] if shape.post_norms else []),
            self._residual("attention_residual"),
        ]

    def _mlp_block(self) -> list[Op]:
        """Norm, the MLP or the mixture of experts, residual."""
        shape = self.shape
        hidden, inner, dense = shape.hidden_size, shape.intermediate_size, shape.layers - shape.mixture_layers
        return [
            *([self._norm("mlp_norm", hidden)] if shape.pre_norms else []),
            *self._quantize("mlp_input", hidden),
            *(self._mlp(inner) if dense == shape.layers else self._dense_layers(dense)),
            *mixture_ops(self.name, shape, self.tokens, self.formats),
            *([self._norm("mlp_post_norm", hidden)] if shape.post_norms else []),
            self._residual("mlp_residual"),
        ]

    def _dense_layers(self, count: int) -> list[Op]:
        """The MLPs of a model whose other layers have experts."""
        if not count:
            return []
        return [op.model_copy(update={"count": count}) for op in self._mlp(self.shape.intermediate_size)]

    def _mlp(self, inner: int) -> list[Op]:
        """Gate and up projections, gate, down projection."""
        shape, operations = self.shape, GATE_OPERATIONS[self.shape.activation]
        return [
            *self._linear("gate_proj"),
            *self._linear("up_proj"),
            *self._bias("gate_up_bias", 2 * inner, shape.mlp_bias),
            self._vector("gate", 2 * inner, inner, operations * inner),
            *([self._norm("mlp_sub_norm", inner)] if shape.sub_norms else []),
            *self._quantize("down_proj_input", inner),
            *self._linear("down_proj"),
            *self._bias("down_bias", shape.hidden_size, shape.mlp_bias),
        ]

    def _linear(self, kind: str) -> list[LinearOp]:
        zeros = self.formats.zero_fraction
        return linear_ops(self.name, kind, self.shape, self.tokens, self.manifest, self.statistics, zeros)

    def _vector(
        self, label: str, width_in: int, width_out: int, operations: int, update: Mapping[str, int] | None = None
    ) -> VectorOp:
        """Element operations of every layer; widths and operations per token. ``update``: other fields."""
        op = VectorOp(
            name=label,
            count=self.shape.layers,
            tokens=self.tokens,
            input_bits=width_in * self.formats.residual_bits,
            output_bits=width_out * self.formats.residual_bits,
            operations=operations,
        )
        return op.model_copy(update=dict(update)) if update else op

    def _bias(self, label: str, width: int, there: bool) -> list[VectorOp]:
        return [self._vector(label, width, width, width)] if there else []

    def _residual(self, label: str) -> VectorOp:
        """An add, after a multiply where what is added has a constant factor."""
        hidden = self.shape.hidden_size
        return self._vector(label, 2 * hidden, hidden, hidden * (1 + ("residual" in self.shape.scaled)))

    def _scaling(self, what: Literal["embedding", "logits"], width: int, tokens: int) -> list[VectorOp]:
        """A multiply by a constant of the model, once."""
        if what not in self.shape.scaled:
            return []
        return [self._vector(f"{what}_scale", width, width, width, {"count": 1, "tokens": tokens})]

    def _norm(self, label: str, width: int) -> VectorOp:
        return self._vector(label, width, width, _NORM_OPERATIONS * width)

    def _quantize(self, label: str, width: int) -> list[VectorOp]:
        """To the format of the linears' inputs, where that is another one than the residual's."""
        if self.formats.activation_bits == self.formats.residual_bits:
            return []
        op = self._vector(f"quantize_{label}", width, width, QUANTIZE_OPERATIONS * width)
        return [op.model_copy(update={"output_bits": width * self.formats.activation_bits})]

    def _kv_cache_write(self, width: int) -> VectorOp:
        """K and V of the new tokens to DRAM, quantized where the cache is narrower than the residual."""
        formats = self.formats
        operations = QUANTIZE_OPERATIONS * width if formats.digits or formats.kv_bits < formats.residual_bits else 0
        operations += _TRITS_OPERATIONS * width if formats.digits else 0
        op = self._vector("kv_cache_write", width, 0, operations)
        bits = self.shape.kv_heads * formats.cached_bits(self.shape.head_dim)
        return op.model_copy(update={"dram_write_bits": bits})

    def _digit_operands(self, q_width: int, kv_width: int) -> list[VectorOp]:
        """What q, and k before its cache, pass where the array multiplies digits: rotation, and q to int8."""
        if self.formats.digits is None:
            return []
        rotated, stages = q_width + kv_width, hadamard_block(self.shape.head_dim).bit_length() - 1
        quantize = self._vector("quantize_queries", q_width, q_width, QUANTIZE_OPERATIONS * q_width)
        return [
            *(
                [self._vector("rotate", rotated, rotated, stages * rotated)]
                if self.formats.digits.rotate and stages
                else []
            ),
            quantize.model_copy(update={"output_bits": q_width * INT8_BITS}),
        ]

    def _attention(self) -> list[AttentionOp]:
        """Scores, softmax and values; of the layers of each window after one another."""
        shape = self.shape
        labels: tuple[Literal["attention_scores", "softmax", "attention_values"], ...]
        labels = ("attention_scores", "softmax", "attention_values")
        return [
            AttentionOp(
                name=label,
                count=layers,
                batch=self.batch,
                queries=self.queries,
                past=self.past,
                steps=self.steps,
                kv_heads=shape.kv_heads,
                group=shape.heads // shape.kv_heads,
                head_dim=shape.head_dim,
                window=window,
                softcap=shape.attention_softcap,
            )
            for window, layers in shape.windows.items()
            for label in labels
        ]
