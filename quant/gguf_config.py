"""The metadata of a GGUF file as the ``config.json`` of the same model, so that one reader knows what its fields mean.

Every field of the architecture is translated, known to be irrelevant, or refused by name.

Ref: ggml-org/llama.cpp convert_hf_to_gguf.py (what is written) and src/llama-model.cpp (what is read, and the
constants of Gemma and SmolLM3 that are not in the file).
"""

from collections.abc import Mapping

from hw.errors import InputError
from quant.families import FAMILIES
from quant.gguf_file import GgufFile, Strings, tensor_values
from quant.hf_config import shape_from_config
from quant.native.gguf_file import BITNET_ACTIVATIONS
from quant.shapes import ModelShape

__all__ = ["ARCHITECTURES", "FREQUENCY_TENSORS", "gguf_config", "gguf_shape"]

# Architecture: model_type of its config.json.
ARCHITECTURES = {
    "llama": "llama",
    "mistral": "mistral",
    "qwen2": "qwen2",
    "qwen3": "qwen3",
    "smollm3": "smollm3",
    "gemma2": "gemma2",
    "gemma3": "gemma3_text",
    "phi3": "phi3",
    "olmo2": "olmo2",
    "granite": "granite",
    "bitnet": "bitnet",
    "bitnet-b1.58": "bitnet",
    "bitnet-25": "bitnet",
}

# Divisors of the rotary frequencies, beside the model's weights.
FREQUENCY_TENSORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")

_SIZES = {
    "embedding_length": "hidden_size",
    "block_count": "num_hidden_layers",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "context_length": "max_position_embeddings",
}
_OPTIONAL = {
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "rope.freq_base": "rope_theta",
    "attention.sliding_window": "sliding_window",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "attention.scale": "attention_multiplier",
    "embedding_scale": "embedding_multiplier",
    "residual_scale": "residual_multiplier",
    "logit_scale": "logits_scaling",
    "rope.freq_base_swa": "rope_local_base_freq",
    "expert_count": "num_local_experts",
    "expert_used_count": "num_experts_per_tok",
}
_SCALES = (
    *("attn_logit_softcapping", "final_logit_softcapping", "attention_multiplier", "embedding_multiplier"),
    *("residual_multiplier", "logits_scaling", "rope_local_base_freq"),
)
_ZERO_IS_NONE = ("sliding_window", "num_local_experts", "num_experts_per_tok")
_GEMMA_NEEDS = {"gemma3": (("attention.sliding_window", "sliding_window"),)}
_WHOLE = (*_SIZES, "attention.head_count_kv", "attention.key_length", "rope.scaling.original_context_length")
_POSITIVE = ("attention.layer_norm_rms_epsilon", "rope.freq_base", "rope.freq_base_swa", "rope.scaling.attn_factor")
_CHECKED = ("attention.causal", "attention.value_length", "rope.dimension_count", "vocab_size", "tensor_data_layout")
_SCALING = {
    "factor": "factor",
    "original_context_length": "original_max_position_embeddings",
    "yarn_beta_fast": "beta_fast",
    "yarn_beta_slow": "beta_slow",
}
_GEMMA3_LOCAL_BASE = 10000.0
_INFINITY = float("inf")
_NOTES = ("finetuned",)  # whether the scaling was trained with, of rope.scaling


def gguf_shape(file: GgufFile) -> ModelShape:
    """Dimensions of the model in a GGUF file.

    Raises:
        InputError: what ``gguf_config`` or ``quant.hf_config`` refuses.
    """
    config = gguf_config(file)
    return shape_from_config(config, file.path.stem, "header of the given .gguf file", str(file.path))


def gguf_config(file: GgufFile) -> dict[str, object]:
    """The fields of ``config.json`` that say the same as the file's header.

    Raises:
        InputError: another architecture, part of a split model, a field that is missing, odd or not known here.
    """
    return _Header(file).config()


class _Header:
    """The metadata of one architecture."""

    def __init__(self, file: GgufFile) -> None:
        self._file, self._fields = file, file.fields
        self._kind = file.fields.get("general.architecture")
        if not isinstance(self._kind, str) or self._kind not in ARCHITECTURES:
            raise self._wrong("general.architecture", f"one of {', '.join(ARCHITECTURES)}", self._kind)
        self._family = FAMILIES[ARCHITECTURES[self._kind]]

    def config(self) -> dict[str, object]:
        """All fields."""
        self._check_whole()
        self._check_known()
        config: dict[str, object] = {theirs: self._scalar(name) for name, theirs in _SIZES.items()}
        if missing := [name for name, theirs in _SIZES.items() if config[theirs] is None]:
            raise InputError(f"{self._file.path}: field '{self._kind}.{missing[0]}' is missing")
        optional = {theirs: self._scalar(name) for name, theirs in _OPTIONAL.items() if self._has(name)}
        config |= {name: value for name, value in optional.items() if value or name not in _ZERO_IS_NONE}
        config["model_type"] = self._model_type(config)
        config |= self._defaults(config) | self._embedding() | self._biases()
        config |= self._gemma(config)
        if self._kind in BITNET_ACTIVATIONS:
            config["hidden_act"] = BITNET_ACTIVATIONS[self._kind]
        config |= self._rope_parameters(config) if self._scaled() else {}
        self._check_head(config)
        return config

    def _defaults(self, config: Mapping[str, object]) -> dict[str, object]:
        """What llama.cpp takes where the header says nothing, which is not always what transformers takes."""
        heads, hidden = config["num_attention_heads"], config["hidden_size"]
        for name, value in (("attention.head_count", heads), ("embedding_length", hidden)):
            if type(value) is not int or value < 1:
                raise self._wrong(f"{self._kind}.{name}", "an integer of at least 1", value)
        found = {"num_key_value_heads": heads, "head_dim": max(1, hidden // heads), "rope_theta": 10000.0}
        if config["model_type"] in ("mistral", "mixtral"):
            found["sliding_window"] = None
        for name, theirs in (("attention.layer_norm_rms_epsilon", "rms_norm_eps"), *_GEMMA_NEEDS.get(self._kind, ())):
            if theirs not in config:
                raise InputError(f"{self._file.path}: field '{self._kind}.{name}' is missing")
        return {name: value for name, value in found.items() if name not in config}

    def _model_type(self, config: Mapping[str, object]) -> str:
        """Mistral and Mixtral come under architecture llama; what makes them so are these fields."""
        if self._kind == "llama" and config.get("num_local_experts"):
            return "mixtral"
        return "mistral" if self._kind == "llama" and config.get("sliding_window") else ARCHITECTURES[self._kind]

    def _check_whole(self) -> None:
        parts = self._fields.get("split.count", 1)
        if parts not in (0, 1):
            raise InputError(
                f"{self._file.path}: is one of {parts} files of a split model (field 'split.count'); join them: "
                "llama-gguf-split --merge FIRST OUT"
            )
        wanted = self._fields.get("split.tensors.count", len(self._file.tensors))
        if wanted != len(self._file.tensors):
            raise self._wrong("split.tensors.count", f"the {len(self._file.tensors)} tensors that are there", wanted)
        if (kind := self._fields.get("general.type", "model")) != "model":
            raise self._wrong("general.type", "model", kind)

    def _check_known(self) -> None:
        prefix = f"{self._kind}."
        if self._fields.get(f"{prefix}attention.causal", True) is not True:
            raise self._wrong(f"{prefix}attention.causal", "true", self._fields[f"{prefix}attention.causal"])
        known = {
            "attention.causal",
            *_SIZES,
            *_OPTIONAL,
            *_CHECKED,
            *(f"rope.scaling.{one}" for one in (*_SCALING, *_NOTES)),
        }
        known |= {"rope.scaling.type", "rope.scaling.attn_factor", "rope.scale_linear"}
        for name, value in self._fields.items():
            short = name.removeprefix(prefix)
            if name.startswith(prefix) and short not in known and value not in (0, False, ""):
                raise InputError(
                    f"{self._file.path}: field {name!r} ({_short(value)}) is not known here; it may change what the "
                    "model computes"
                )
        for name, theirs in _OPTIONAL.items():
            value = self._scalar(name)
            if value is not None and value != 0 and theirs in _SCALES and theirs not in self._family.reads:
                raise InputError(
                    f"{self._file.path}: field '{prefix}{name}' ({_short(value)}) is none that models of architecture "
                    f"{self._kind!r} have; what it changes is not known here"
                )
        if self._has("tensor_data_layout"):
            raise self._wrong(f"{prefix}tensor_data_layout", "absent", self._scalar("tensor_data_layout"))

    def _has(self, name: str) -> bool:
        return self._fields.get(f"{self._kind}.{name}") is not None

    def _scalar(self, name: str) -> object:
        """A number or word; of an array with one value for each block, the value that all share."""
        value = self._fields.get(f"{self._kind}.{name}")
        if isinstance(value, list):
            if not value or any(one != value[0] for one in value):
                raise self._wrong(f"{self._kind}.{name}", "one number, or the same for every block", value)
            value = value[0]
        if isinstance(value, Strings):
            raise self._wrong(f"{self._kind}.{name}", "a number", "an array of strings")
        if name in _WHOLE and value is not None and (type(value) is not int or value < 1):
            raise self._wrong(f"{self._kind}.{name}", "an integer of at least 1", value)
        if name in _POSITIVE and value is not None and not (type(value) in (int, float) and 0 < value < _INFINITY):
            raise self._wrong(f"{self._kind}.{name}", "a number above 0", value)
        return value

    def _embedding(self) -> dict[str, object]:
        table = self._file.tensors.get("token_embd.weight")
        if table is None:
            raise InputError(f"{self._file.path}: tensor 'token_embd.weight' is missing")
        rows = table.shape[0]
        if self._has("vocab_size") and self._scalar("vocab_size") != rows:
            raise self._wrong(f"{self._kind}.vocab_size", f"the {rows} rows of token_embd", self._scalar("vocab_size"))
        return {"vocab_size": rows, "tie_word_embeddings": "output.weight" not in self._file.tensors}

    def _biases(self) -> dict[str, object]:
        names = self._file.tensors
        attention = self._kind != "qwen2" and any(name.endswith(("attn_q.bias", "attn_output.bias")) for name in names)
        mlp = any(name.endswith(("ffn_up.bias", "ffn_down.bias")) for name in names)
        return ({"attention_bias": True} if attention else {}) | ({"mlp_bias": True} if mlp else {})

    def _gemma(self, config: Mapping[str, object]) -> dict[str, object]:
        """The scale of Gemma's scores, which llama.cpp knows by the number of blocks."""
        if not self._kind.startswith("gemma"):
            return {}
        largest = {"gemma2": 46, "gemma3": 62}[self._kind]  # blocks of the 27 B models
        if config["num_hidden_layers"] == largest:
            return {"query_pre_attn_scalar": config["hidden_size"] // config["num_attention_heads"]}
        return {"query_pre_attn_scalar": config["head_dim"]}

    def _scaled(self) -> bool:
        fields = any(self._has(name) for name in ("rope.scaling.type", "rope.scaling.factor", "rope.scale_linear"))
        return fields or any(name in self._file.tensors for name in FREQUENCY_TENSORS)

    def _rope_parameters(self, config: Mapping[str, object]) -> dict[str, object]:
        """The field of ``config.json``; Gemma 3 scales the layers without a window alone."""
        found = self._rope(config)
        if self._kind != "gemma3":
            return {"rope_parameters": found}
        local = {"rope_type": "default", "rope_theta": config.get("rope_local_base_freq", _GEMMA3_LOCAL_BASE)}
        return {"rope_parameters": {"full_attention": found, "sliding_attention": local}}

    def _rope(self, config: Mapping[str, object]) -> dict[str, object]:
        """``rope_parameters``; frequencies divided one by one are what ``longrope`` does."""
        kind, found = self._scaling()
        attention = self._scalar("rope.scaling.attn_factor")
        theta = {"rope_theta": config["rope_theta"]} if config.get("rope_theta") else {}
        short, long = self._factors(config)
        if short is not None:
            if kind not in ("none", "longrope"):
                raise self._wrong(f"{self._kind}.rope.scaling.type", "none beside rope_freqs or rope_factors", kind)
            original = found.get("original_max_position_embeddings", config["max_position_embeddings"])
            factors = {"short_factor": short, "long_factor": long, "original_max_position_embeddings": original}
            return theta | factors | {"rope_type": "longrope", "attention_factor": attention or 1.0}
        if attention not in (None, 1.0):
            raise self._wrong(f"{self._kind}.rope.scaling.attn_factor", "1", attention)
        if kind == "none":
            return theta | {"rope_type": "default"}
        if kind not in ("linear", "yarn"):
            raise self._wrong(f"{self._kind}.rope.scaling.type", "one of none, linear, yarn, longrope", kind)
        if "factor" not in found:
            raise InputError(f"{self._file.path}: field '{self._kind}.rope.scaling.factor' is missing")
        if kind == "linear":
            return theta | {"rope_type": "linear", "factor": found["factor"]}
        return theta | found | {"rope_type": "yarn"}

    def _scaling(self) -> tuple[object, dict[str, object]]:
        """Kind of scaling, and its numbers; a factor without a kind is linear, as llama.cpp takes it."""
        kind, found = self._scalar("rope.scaling.type"), {}
        for name, theirs in _SCALING.items():
            if self._has(f"rope.scaling.{name}"):
                found[theirs] = self._scalar(f"rope.scaling.{name}")
        if not self._has("rope.scaling.factor") and self._has("rope.scale_linear"):
            found["factor"] = self._scalar("rope.scale_linear")
        if found.get("factor") == 0:  # llama.cpp's spelling of none
            del found["factor"]
        if kind is None:
            kind = "none" if found.get("factor", 1) == 1 else "linear"
        if (factor := found.get("factor", 1)) is True or type(factor) not in (int, float) or not 0 < factor < _INFINITY:
            raise self._wrong(f"{self._kind}.rope.scaling.factor", "a number above 0", factor)
        return kind, found

    def _factors(self, config: Mapping[str, object]) -> tuple[list[float] | None, list[float] | None]:
        """Divisors of the frequencies within the original context, and beyond it."""
        names = FREQUENCY_TENSORS
        rotated = self._scalar("rope.dimension_count") or config["head_dim"]
        for name in names:
            if name in self._file.tensors and (shape := self._file.tensors[name].shape) != (rotated // 2,):
                raise InputError(
                    f"{self._file.path}: tensor {name!r} must have {rotated // 2} values, one for each rotated pair of "
                    f"a head, not {' x '.join(map(str, shape))}"
                )
        if names[0] in self._file.tensors:
            factors = tensor_values(self._file, names[0]).flatten().tolist()
            return factors, factors
        if names[1] not in self._file.tensors and names[2] not in self._file.tensors:
            return None, None
        for name in names[1:]:
            if name not in self._file.tensors:
                raise InputError(f"{self._file.path}: tensor {name!r} is missing")
        long, short = (tensor_values(self._file, name).flatten().tolist() for name in names[1:])
        return short, long

    def _check_head(self, config: dict[str, object]) -> None:
        """Width of the rotated part and of the values of a head."""
        width = config["head_dim"]
        if self._has("attention.value_length") and self._scalar("attention.value_length") != width:
            raise self._wrong(
                f"{self._kind}.attention.value_length", f"{width} as keys have", self._scalar("attention.value_length")
            )
        rotated = self._scalar("rope.dimension_count")
        if rotated in (None, width):
            return
        if self._kind != "phi3" or type(rotated) is not int or not 0 < rotated < width:
            raise self._wrong(f"{self._kind}.rope.dimension_count", f"the {width} of a head", rotated)
        config["partial_rotary_factor"] = rotated / width

    def _wrong(self, field: str, wanted: str, value: object) -> InputError:
        return InputError(f"{self._file.path}: field {field!r} must be {wanted}, not {_short(value)}")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
