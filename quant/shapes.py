"""Shapes of LLaMA-family models: dimensions, the GEMMs of a layer, and parameter counts."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from hw.artifact import sha256_json
from hw.document import Record, load_named, names_in

__all__ = [
    "LINEAR_KINDS",
    "LINEAR_MODULES",
    "MODEL_FOLDER",
    "MOST",
    "MOST_LAYERS",
    "Experts",
    "Gemm",
    "ModelShape",
    "linear_name",
    "load_shape",
    "model_names",
]

MODEL_FOLDER = Path(__file__).parent / "models"

# The decoder linears that are quantized, in the order in which a token meets them.
LINEAR_KINDS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

# Where transformers and checkpoints keep each of them inside its layer, unless the family packs it with others.
LINEAR_MODULES = {kind: f"{'self_attn' if kind in LINEAR_KINDS[:4] else 'mlp'}.{kind}" for kind in LINEAR_KINDS}

_MLP_KINDS = LINEAR_KINDS[4:]

MOST = 2**31 - 1  # of any dimension: what GGUF and llama2.c hold, and what keeps products of two of them exact
MOST_LAYERS = 10_000  # a shape has a list over its layers
Positive = Annotated[int, Field(ge=1, le=MOST)]
Layer = Annotated[int, Field(ge=0)]


class Gemm(NamedTuple):
    """``y[m, n] = sum_k x[m, k] * w[n, k]``."""

    m: int
    n: int
    k: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.m * self.n * self.k


class Experts(Record):
    """A mixture in the place of a layer's MLP: a router sends every token to ``per_token`` of ``count`` MLPs."""

    count: Positive
    per_token: Positive
    size: Positive  # intermediate size of each
    shared_size: Positive | None = None  # of one more MLP that every token passes, with a gate of one output
    dense_layers: tuple[Layer, ...] = ()  # layers that have one MLP of the model's intermediate_size instead

    @model_validator(mode="after")
    def _consistent(self) -> "Experts":
        if self.per_token > self.count:
            raise ValueError(f"experts per token must be at most the {self.count} experts, not {self.per_token}")
        return self


class ModelShape(Record):
    """Dimensions of one decoder-only LLaMA relative, named as in its ``config.json`` where that has a name."""

    file_schema: ClassVar[str | None] = "tritforge.model.1"

    name: str  # under which tables, folders and messages show it
    source: str  # where the dimensions were read
    hidden_size: Positive  # width of the residual stream
    intermediate_size: Positive  # width of the MLP between its projections
    layers: Annotated[int, Field(ge=1, le=MOST_LAYERS)]  # decoder layers
    heads: Positive  # of queries, per layer
    kv_heads: Positive  # of K and V, per layer; fewer than heads: grouped queries
    head_dim: Positive  # width of each head
    vocab_size: Positive  # rows of the embedding and of the head
    max_positions: Positive  # longest context, in tokens
    tie_embeddings: bool = False  # the head is the embedding's table
    qkv_bias: bool = False  # q_proj, k_proj and v_proj add a bias
    o_bias: bool = False  # o_proj adds a bias
    mlp_bias: bool = False  # the projections of the MLP add a bias
    sub_norms: bool = False  # BitNet b1.58: extra RMSNorm before o_proj and before down_proj
    pre_norms: bool = True  # RMSNorm before attention and before the MLP
    post_norms: bool = False  # RMSNorm of what attention and the MLP add to the residual stream (Gemma, OLMo 2)
    query_key_norm: Literal["head", "width"] | None = None  # RMSNorm of each head (Qwen3), or of all together (OLMo 2)
    activation: Literal["silu", "relu2", "gelu"] = "silu"  # gelu: the tanh form
    rope_theta: Annotated[float, Field(gt=0)] = 10000.0  # base of the rotary positions' frequencies
    rope_scaling: str | None = None  # how its frequencies are scaled, such as llama3 or yarn; no count depends on it
    rotary_dim: Positive | None = None  # of each head; None: head_dim
    layers_without_rope: tuple[Layer, ...] = ()  # numbers of layers whose queries and keys are not turned
    rms_norm_eps: Annotated[float, Field(gt=0)] = 1e-5  # added to the mean square in every RMSNorm
    sliding_window: Positive | None = None  # tokens that attention sees; None: all before
    windowed_layers: tuple[Layer, ...] | None = None  # whose attention has the sliding window; None: all
    attention_softcap: bool = False  # scores pass c tanh(x / c)
    logit_softcap: bool = False  # logits pass c tanh(x / c)
    scaled: tuple[Literal["embedding", "residual", "logits"], ...] = ()  # multiplied by a constant of the model
    experts: Experts | None = None  # a mixture in place of each layer's MLP; None: one MLP
    parameters: Annotated[int, Field(ge=1)] | None = None  # the published count, where one is; a test reproduces it
    parameters_source: str | None = None  # where the count is published

    @model_validator(mode="after")
    def _consistent(self) -> "ModelShape":
        if self.heads % self.kv_heads:
            raise ValueError(f"heads must be a multiple of kv_heads, not {self.heads} of {self.kv_heads}")
        if self.windowed_layers is not None and self.sliding_window is None:
            raise ValueError("windowed_layers need a sliding_window")
        dense = () if self.experts is None else self.experts.dense_layers
        for layer in (*(self.windowed_layers or ()), *self.layers_without_rope, *dense):
            if layer >= self.layers:
                raise ValueError(f"layer numbers must be below the {self.layers} layers, not {layer}")
        return self

    def linear(self, kind: str) -> tuple[int, int]:
        """``(n, k)`` = (outputs, inputs) of one decoder linear; of the MLP where a layer has one."""
        q, kv, h, f = (
            self.heads * self.head_dim,
            self.kv_heads * self.head_dim,
            self.hidden_size,
            self.intermediate_size,
        )
        shapes = {
            "q_proj": (q, h),
            "k_proj": (kv, h),
            "v_proj": (kv, h),
            "o_proj": (h, q),
            "gate_proj": (f, h),
            "up_proj": (f, h),
            "down_proj": (h, f),
        }
        return shapes[kind]

    def window(self, layer: int) -> int | None:
        """Tokens that a token of this layer sees, itself included; None: all before it."""
        windowed = self.windowed_layers is None or layer in self.windowed_layers
        return self.sliding_window if windowed else None

    @property
    def windows(self) -> dict[int | None, int]:
        """How many layers have each window, in the order of the layers."""
        counted: dict[int | None, int] = {}
        for window in map(self.window, range(self.layers)):
            counted[window] = counted.get(window, 0) + 1
        return counted

    @property
    def mixture_layers(self) -> int:
        """Layers whose MLP is a mixture of experts."""
        return 0 if self.experts is None else self.layers - len(set(self.experts.dense_layers))

    @property
    def linear_parameters(self) -> int:
        """Weights of all decoder linears, of all experts: what is quantized."""
        attention = sum(n * k for n, k in map(self.linear, LINEAR_KINDS[:4]))
        dense = (self.layers - self.mixture_layers) * self._mlp_weights()
        total = self.layers * attention + dense
        if self.experts is not None:
            width = self.experts.count * self.experts.size + (self.experts.shared_size or 0)
            total += self.mixture_layers * len(_MLP_KINDS) * self.hidden_size * width
        return total

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding table (and of a separate lm_head again)."""
        return self.vocab_size * self.hidden_size

    @property
    def router_parameters(self) -> int:
        """Weights of all routers, and of the gates of shared experts."""
        if self.experts is None:
            return 0
        outputs = self.experts.count + (self.experts.shared_size is not None)
        return self.mixture_layers * outputs * self.hidden_size

    @property
    def total_parameters(self) -> int:
        """Every parameter: linears, routers, biases, norms, embedding, and lm_head unless tied."""
        tables = self.embedding_parameters * (1 if self.tie_embeddings else 2)
        layers = self.layers * (self._biases() + self._norms())
        return self.linear_parameters + self.router_parameters + layers + self.hidden_size + tables

    @property
    def sha256(self) -> str:
        """Hash of the dimensions, not of the name or the source."""
        return sha256_json(self.model_dump(exclude={"name", "source", "parameters", "parameters_source"}, mode="json"))

    def _mlp_weights(self) -> int:
        return sum(n * k for n, k in map(self.linear, _MLP_KINDS))

    def _biases(self) -> int:
        """Of one layer."""
        present = {"q_proj": self.qkv_bias, "k_proj": self.qkv_bias, "v_proj": self.qkv_bias, "o_proj": self.o_bias}
        kinds = [kind for kind in LINEAR_KINDS if present.get(kind, self.mlp_bias)]
        return sum(self.linear(kind)[0] for kind in kinds)

    def _norms(self) -> int:
        """Gains of one layer."""
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        gains = 2 * self.hidden_size * (self.pre_norms + self.post_norms)
        gains += q + self.intermediate_size if self.sub_norms else 0
        return gains + {None: 0, "head": 2 * self.head_dim, "width": q + kv}[self.query_key_norm]


def model_names() -> list[str]:
    """Names of the model shapes that ship with the project."""
    return names_in(MODEL_FOLDER)


def load_shape(name: str) -> ModelShape:
    """A shipped shape by name, or a ``.yaml`` file.

    Raises:
        InputError: unknown name (the known ones are listed), or a faulty file.
    """
    return load_named(name, MODEL_FOLDER, ModelShape, "model")


def linear_name(layer: int, kind: str) -> str:
    """Path of a decoder linear's module inside the model: ``model.layers.3.self_attn.q_proj``."""
    return f"model.layers.{layer}.{LINEAR_MODULES[kind]}"
