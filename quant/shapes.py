"""Shapes of LLaMA-family models: dimensions, the GEMMs of a layer, and parameter counts."""

import json
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from hw.artifact import sha256_json
from hw.document import Record, load_named, names_in, validate_document
from hw.errors import InputError

__all__ = [
    "LINEAR_KINDS",
    "LINEAR_MODULES",
    "MODEL_FOLDER",
    "Gemm",
    "ModelShape",
    "linear_name",
    "load_shape",
    "model_names",
    "shape_from_hf_config",
]

MODEL_FOLDER = Path(__file__).parent / "models"

# The decoder linears that are quantized, in the order in which a token meets them.
LINEAR_KINDS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

# Where transformers and checkpoints keep each of them inside its layer.
LINEAR_MODULES = {kind: f"{'self_attn' if kind in LINEAR_KINDS[:4] else 'mlp'}.{kind}" for kind in LINEAR_KINDS}

Positive = Annotated[int, Field(ge=1)]


class Gemm(NamedTuple):
    """``y[m, n] = sum_k x[m, k] * w[n, k]``."""

    m: int
    n: int
    k: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates."""
        return self.m * self.n * self.k


class ModelShape(Record):
    """Dimensions of one decoder-only LLaMA, named as in its ``config.json`` where that has a name."""

    file_schema: ClassVar[str | None] = "tritforge.model.1"

    name: str
    source: str  # where the dimensions were read
    hidden_size: Positive
    intermediate_size: Positive
    layers: Positive
    heads: Positive
    kv_heads: Positive
    head_dim: Positive
    vocab_size: Positive
    max_positions: Positive
    tie_embeddings: bool = False
    qkv_bias: bool = False
    sub_norms: bool = False  # BitNet b1.58 2B: extra RMSNorm before o_proj and before down_proj
    activation: Literal["silu", "relu2", "gelu"] = "silu"
    rope_theta: Annotated[float, Field(gt=0)] = 10000.0
    rms_norm_eps: Annotated[float, Field(gt=0)] = 1e-5
    sliding_window: Positive | None = None
    parameters: Positive | None = None  # the published count, where one is; a test reproduces it
    parameters_source: str | None = None

    @model_validator(mode="after")
    def _consistent(self) -> "ModelShape":
        if self.heads % self.kv_heads:
            raise ValueError(f"heads must be a multiple of kv_heads, not {self.heads} of {self.kv_heads}")
        return self

    def linear(self, kind: str) -> tuple[int, int]:
        """``(n, k)`` = (outputs, inputs) of one decoder linear."""
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

    @property
    def linear_parameters(self) -> int:
        """Weights of all decoder linears: what is quantized."""
        return self.layers * sum(n * k for n, k in map(self.linear, LINEAR_KINDS))

    @property
    def embedding_parameters(self) -> int:
        """Weights of the embedding table (and of a separate lm_head again)."""
        return self.vocab_size * self.hidden_size

    @property
    def total_parameters(self) -> int:
        """Every parameter: linears, biases, norms, embedding, and lm_head unless tied."""
        biases = (self.heads + 2 * self.kv_heads) * self.head_dim if self.qkv_bias else 0
        norms = 2 * self.hidden_size
        if self.sub_norms:
            norms += self.heads * self.head_dim + self.intermediate_size
        tables = self.embedding_parameters * (1 if self.tie_embeddings else 2)
        return self.linear_parameters + self.layers * (biases + norms) + self.hidden_size + tables

    @property
    def sha256(self) -> str:
        """Hash of the dimensions, not of the name or the source."""
        return sha256_json(self.model_dump(exclude={"name", "source", "parameters", "parameters_source"}))


def linear_name(layer: int, kind: str) -> str:
    """Path of a decoder linear's module inside the model: ``model.layers.3.self_attn.q_proj``."""
    return f"model.layers.{layer}.{LINEAR_MODULES[kind]}"


def model_names() -> list[str]:
    """Names of the model shapes that ship with the project."""
    return names_in(MODEL_FOLDER)


def load_shape(name: str) -> ModelShape:
    """A shipped shape by name, or a ``.yaml`` file.

    Raises:
        InputError: unknown name (the known ones are listed), or a faulty file.
    """
    return load_named(name, MODEL_FOLDER, ModelShape, "model")


def shape_from_hf_config(path: Path) -> ModelShape:
    """Read the dimensions out of a Hugging Face ``config.json``.

    Raises:
        InputError: unreadable file, an architecture that is not a LLaMA relative, a missing or wrong field.
    """
    path = Path(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: must be a readable Hugging Face config.json ({error})") from None
    known = {"llama", "mistral", "qwen2", "bitnet", "smollm"}
    if not isinstance(config, dict) or (kind := config.get("model_type")) not in known:
        found = config.get("model_type") if isinstance(config, dict) else type(config).__name__
        raise InputError(f"{path}: field 'model_type' must be one of {', '.join(sorted(known))}, not {found!r}")
    fields = {
        "hidden_size": "hidden_size",
        "intermediate_size": "intermediate_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "vocab_size": "vocab_size",
        "max_positions": "max_position_embeddings",
    }
    if missing := [theirs for theirs in fields.values() if not isinstance(config.get(theirs), int)]:
        raise InputError(f"{path}: field {missing[0]!r} must be an integer, not {config.get(missing[0])!r}")
    if config["num_attention_heads"] < 1:
        raise InputError(f"{path}: field 'num_attention_heads' must be at least 1, not {config['num_attention_heads']}")
    ours = {mine: config[theirs] for mine, theirs in fields.items()}
    ours["kv_heads"] = config.get("num_key_value_heads") or ours["heads"]
    ours["head_dim"] = config.get("head_dim") or ours["hidden_size"] // ours["heads"]
    ours["tie_embeddings"] = bool(config.get("tie_word_embeddings", False))
    ours["qkv_bias"] = kind == "qwen2" or bool(config.get("attention_bias", False))
    ours["sub_norms"] = kind == "bitnet"
    ours["activation"] = {"relu2": "relu2", "gelu": "gelu"}.get(config.get("hidden_act", "silu"), "silu")
    rope = config.get("rope_parameters") or {}
    ours["rope_theta"] = config.get("rope_theta") or rope.get("rope_theta") or 10000.0
    ours["rms_norm_eps"] = config.get("rms_norm_eps", 1e-6)
    return validate_document(
        {"name": path.resolve().parent.name, "source": f"{path.name} of the given model", **ours}, ModelShape, str(path)
    )
