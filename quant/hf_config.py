"""``config.json`` of Hugging Face as a ``ModelShape``: every field is read, known to be irrelevant, or refused by name.

No torch and no transformers, so that a simulation of shapes needs neither.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from hw.document import validate_document
from hw.errors import InputError
from quant.families import FAMILIES, IRRELEVANT, NEUTRAL, SIZES, Family
from quant.shapes import MOST, MOST_LAYERS, ModelShape

__all__ = ["read_config", "shape_from_config", "shape_from_hf_config"]

Config = Mapping[str, object]

_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "relu2": "relu2",
    "gelu_pytorch_tanh": "gelu",
    "gelu_new": "gelu",
}

# What each kind of rotary scaling takes, beside its name and the base.
_ROPE_FIELDS = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor", "original_max_position_embeddings"),
    "llama3": ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "yarn": (
        "factor",
        "original_max_position_embeddings",
        "attention_factor",
        "beta_fast",
        "beta_slow",
        "mscale",
        "mscale_all_dim",
        "truncate",
    ),
    "longrope": ("factor", "short_factor", "long_factor", "attention_factor", "original_max_position_embeddings"),
}
_ROPE_NAMES = ("rope_type", "type", "rope_theta", "partial_rotary_factor")
_LAYER_TYPES = ("full_attention", "sliding_attention")


def read_config(path: Path) -> dict[str, object]:
    """The fields of a ``config.json``.

    Raises:
        InputError: unreadable file, or not a mapping.
    """
    try:
        config = json.loads(Path(path).read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: must be a readable Hugging Face config.json ({error})") from None
    if not isinstance(config, dict):
        raise InputError(f"{path}: must be a mapping of fields, not {type(config).__name__}")
    return config


def _once(pairs: Sequence[tuple[str, object]]) -> dict[str, object]:
    """The fields of a JSON mapping, none of which says two things.

    Raises:
        ValueError: a field that is given twice with different values.
    """
    found: dict[str, object] = {}
    for name, value in pairs:
        if name in found and found[name] != value:
            raise ValueError(f"field {name!r} is given twice, as {_short(found[name])} and as {_short(value)}")
        found[name] = value
    return found


def shape_from_hf_config(path: Path) -> ModelShape:
    """Read the dimensions out of a Hugging Face ``config.json``.

    Raises:
        InputError: unreadable file, or what ``shape_from_config`` refuses.
    """
    path = Path(path)
    return shape_from_config(
        read_config(path), path.resolve().parent.name, f"{path.name} of the given model", str(path)
    )


def shape_from_config(config: Config, name: str, source: str, where: str) -> ModelShape:
    """Dimensions out of the fields of a ``config.json``; ``where`` is what complaints start with.

    Raises:
        InputError: a family that is not known, a missing or wrong field, or one that could change what the model
            computes and that is not known here.
    """
    return _Reader(config, where).shape(name, source)


class _Reader:
    """One config, read field by field; each complaint names the field."""

    def __init__(self, config: Config, where: str) -> None:
        self._where, self._config = where, config
        self._kind = config.get("model_type")
        if not isinstance(self._kind, str) or self._kind not in FAMILIES:
            more = "; take the text model out of it" if "text_config" in config else ""
            raise self._wrong("model_type", f"one of {', '.join(sorted(FAMILIES))}{more}", self._kind)
        self._family: Family = FAMILIES[self._kind]
        self._first_bitnet = self._kind == "llama" and config.get("architectures") == ["BitnetForCausalLM"]

    def shape(self, name: str, source: str) -> ModelShape:
        """Every field of ``ModelShape``."""
        self._check_names()
        sizes = {ours: self._integer(theirs) for ours, theirs in SIZES.items()}
        heads = sizes["heads"]
        fields = {
            "name": name,
            "source": source,
            **sizes,
            "kv_heads": self._optional_integer("num_key_value_heads") or heads,
            "head_dim": self._optional_integer("head_dim") or max(1, sizes["hidden_size"] // heads),
            "tie_embeddings": self._flag("tie_word_embeddings"),
            "activation": self._activation(),
            "rms_norm_eps": self._number("rms_norm_eps"),
            **self._biases(),
            **self._family.facts,
            **self._rotary(),
            **self._no_rope(sizes["layers"]),
            **self._windows(sizes["layers"]),
            **self._scaling(),
            "experts": self._experts(sizes),
        }
        if self._first_bitnet:
            fields["sub_norms"] = True
        rotary = fields.pop("partial_rotary_factor")
        if rotary != 1:
            fields["rotary_dim"] = int(fields["head_dim"] * rotary)
        self._check_heads(fields)
        return validate_document(fields, ModelShape, self._where)

    def _check_heads(self, fields: Mapping[str, object]) -> None:
        """Refuse heads whose rotated values are no pairs, and BitNets whose norm behind attention has another width."""
        hidden, heads, width = fields["hidden_size"], fields["heads"], fields["head_dim"]
        if hidden < heads and self._value("head_dim") is None:
            raise self._wrong("hidden_size", f"at least the {heads} heads where head_dim is not given", hidden)
        if fields.get("rotary_dim", width) % 2:
            what = "head_dim" if "rotary_dim" not in fields else "partial_rotary_factor"
            raise self._wrong(what, "even values of a head that are rotated", fields.get("rotary_dim", width))
        if fields.get("sub_norms") and heads * width != hidden:
            raise self._wrong("head_dim", f"hidden_size / num_attention_heads ({hidden} / {heads})", width)

    def _check_names(self) -> None:
        """Refuse every field that nobody reads, and a class or a quantization that is another model."""
        config, known = self._config, {*self._family.reads, *IRRELEVANT}
        if self._first_bitnet:
            known |= {"weight_bits", "input_bits"}
        known |= {name for name, value in NEUTRAL.items() if config.get(name) == value}
        unread = [
            name for name in config if name not in known and name != "layer_types" and _says_something(config, name)
        ]
        if unread:
            named = ", ".join(f"{name!r} ({_short(config[name])})" for name in unread[:5])
            more = f" and {len(unread) - 5} more" if len(unread) > 5 else ""
            raise InputError(
                f"{self._where}: {named}{more}: not a field that {self._kind} models read; what it changes is not "
                "known here: remove it if it changes nothing"
            )
        known_classes = [self._family.architecture, *(["BitnetForCausalLM"] if self._first_bitnet else [])]
        classes = config.get("architectures")
        if classes is not None and (not isinstance(classes, list) or any(c not in known_classes for c in classes)):
            raise self._wrong("architectures", f"[{self._family.architecture!r}] of model_type {self._kind!r}", classes)

    def _value(self, name: str) -> object:
        """The field, or its default where it is absent."""
        return self._config.get(name, self._family.defaults.get(name))

    def _integer(self, name: str) -> int:
        value = self._config.get(name)
        if type(value) is not int or value < 1:
            raise self._wrong(name, "an integer of at least 1", value)
        most = MOST_LAYERS if name == "num_hidden_layers" else MOST
        if value > most:
            raise self._wrong(name, f"at most {most}", value)
        return value

    def _optional_integer(self, name: str) -> int | None:
        value = self._value(name)
        if value is not None and (type(value) is not int or value < 1):
            raise self._wrong(name, "an integer of at least 1", value)
        return value

    def _given_integer(self, name: str, least: int = 1) -> int:
        """The field or its default; null is neither."""
        value = self._value(name)
        if type(value) is not int or value < least:
            raise self._wrong(name, f"an integer of at least {least}", value)
        return value

    def _number(self, name: str, default: float | None = None) -> float:
        value = self._config.get(name)
        value = self._family.defaults.get(name, default) if value is None else value
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            raise self._wrong(name, "a number above 0", value)
        return value

    def _flag(self, name: str) -> bool:
        value = self._value(name)
        if value is not None and type(value) is not bool:
            raise self._wrong(name, "true or false", value)
        return bool(value)

    def _layer_list(self, name: str, layers: int, allowed: Sequence[object]) -> list | None:
        """A list with one of the allowed values for each layer."""
        value = self._value(name)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) < layers or any(one not in allowed for one in value):
            wanted = " or ".join(map(str, allowed))
            raise self._wrong(name, f"a list of {wanted} for each of the {layers} layers", value)
        return value[:layers]

    def _activation(self) -> str:
        name = "hidden_activation" if "hidden_activation" in self._family.reads else "hidden_act"
        value = self._value(name)
        if not isinstance(value, str) or value not in _ACTIVATIONS:
            raise self._wrong(name, f"one of {', '.join(_ACTIVATIONS)}", value)
        other = self._config.get("hidden_act")  # Gemma's files have both names
        if name != "hidden_act" and other is not None and _ACTIVATIONS.get(str(other)) != _ACTIVATIONS[value]:
            raise self._wrong("hidden_act", f"what {name} is ({value!r})", other)
        return _ACTIVATIONS[value]

    def _biases(self) -> dict[str, bool]:
        attention = "attention_bias" in self._family.reads and self._flag("attention_bias")
        narrow = "qkv_bias" in self._family.reads and self._flag("qkv_bias")
        return {
            "qkv_bias": attention or narrow,
            "o_bias": attention,
            "mlp_bias": "mlp_bias" in self._family.reads and self._flag("mlp_bias"),
        }

    def _rotary(self) -> dict[str, object]:
        """Base of the rotary embedding and the rotated share of a head; the scaling itself changes no count."""
        scaling, found = self._config.get("rope_scaling"), self._config.get("rope_parameters")
        for name, value in (("rope_scaling", scaling), ("rope_parameters", found)):
            if value is not None and not isinstance(value, dict):
                raise self._wrong(name, "a mapping of fields", value)
        field, given = ("rope_scaling", scaling) if scaling else ("rope_parameters", found or {})
        if self._kind == "gemma3_text" and field == "rope_parameters":
            self._only(field, given, _LAYER_TYPES)  # a base or a scaling outside of them is taken by nobody
            parts = {f"{field}.{kind}": given.get(kind) or {} for kind in _LAYER_TYPES}
        else:
            parts = {field: given}
        kinds = [self._check_rope(where, part) for where, part in parts.items()]
        part = next(iter(parts.values()))
        theta = part.get("rope_theta") or self._number("rope_theta")
        share = self._rotated_share(part)
        scaled = kinds[0] if kinds[0] != "default" else None
        return {"rope_theta": theta, "rope_scaling": scaled, "partial_rotary_factor": share}

    def _rotated_share(self, part: Mapping[str, object]) -> float:
        """Share of a head that is rotated: all of it, but for Phi-3's."""
        name = "partial_rotary_factor"
        share = next((one[name] for one in (part, self._config) if one.get(name) is not None), 1.0)
        if type(share) not in (int, float) or not 0 < share <= 1:
            raise self._wrong(name, "a number above 0, at most 1", share)
        if share != 1 and self._kind != "phi3":
            raise self._wrong(name, f"1, as {self._kind} models rotate whole heads", share)
        return share

    def _check_rope(self, where: str, part: object) -> str:
        """The kind of scaling."""
        if not isinstance(part, dict):
            raise self._wrong(where, "a mapping of fields", part)
        kind = part.get("rope_type", part.get("type", "default"))
        if self._kind == "phi3":
            kind = {"su": "longrope", "yarn": "longrope"}.get(kind, kind) if isinstance(kind, str) else kind
        if not isinstance(kind, str) or kind not in _ROPE_FIELDS:
            raise self._wrong(f"{where}.rope_type", f"one of {', '.join(_ROPE_FIELDS)}", kind)
        self._only(where, part, (*_ROPE_NAMES, *_ROPE_FIELDS[kind]))
        for name, value in part.items():
            if name in ("rope_type", "type", "truncate") or value is None:
                continue
            numbers = value if name.endswith(("short_factor", "long_factor")) and isinstance(value, list) else [value]
            if any(type(number) not in (int, float) or not 0 < number < float("inf") for number in numbers):
                raise self._wrong(f"{where}.{name}", "a number above 0", value)
        return kind

    def _only(self, where: str, part: Mapping[str, object], known: Sequence[str]) -> None:
        if unknown := [name for name in part if name not in known and _says_something(part, name)]:
            raise InputError(
                f"{self._where}: field '{where}.{unknown[0]}' ({_short(part[unknown[0]])}) is not known here; known "
                f"fields: {', '.join(known)}"
            )

    def _no_rope(self, layers: int) -> dict[str, tuple[int, ...]]:
        if "no_rope_layers" not in self._family.reads:
            return {}
        turned = self._layer_list("no_rope_layers", layers, (0, 1))
        if turned is None:
            interval = self._given_integer("no_rope_layer_interval")
            turned = [int((layer + 1) % interval != 0) for layer in range(layers)]
        return {"layers_without_rope": tuple(layer for layer in range(layers) if not turned[layer])}

    def _windows(self, layers: int) -> dict[str, object]:
        """The sliding window and the layers that have it, by the family's own rule."""
        reads = self._family.reads
        switched_off = "use_sliding_window" in reads and not self._flag("use_sliding_window")
        size = None if switched_off or "sliding_window" not in reads else self._optional_integer("sliding_window")
        types = self._layer_list("layer_types", layers, _LAYER_TYPES)
        by_rule = self._types_by_rule(layers, size)
        if types is None or ("layer_types" not in reads and types == by_rule):
            types = by_rule
        elif "layer_types" not in reads:
            raise self._wrong("layer_types", f"what {self._kind} models do ({by_rule[0]} everywhere)", types)
        windowed = tuple(layer for layer, kind in enumerate(types) if kind == "sliding_attention")
        if size is None and windowed:
            raise self._wrong("sliding_window", "there (and switched on) as layer_types has sliding_attention", None)
        if not windowed:
            return {}
        return {"sliding_window": size, "windowed_layers": None if len(windowed) == layers else windowed}

    def _types_by_rule(self, layers: int, size: int | None) -> list[str]:
        kind = self._kind

        def windowed(layer: int) -> bool:
            if kind.startswith("gemma"):
                return (layer + 1) % self._pattern() != 0
            if size is None:
                return False
            if kind in ("qwen2", "qwen3"):
                return layer >= self._given_integer("max_window_layers", least=0)
            if kind == "qwen2_moe":
                return layer % 2 == 0 and layer < self._given_integer("max_window_layers", least=0)
            if kind == "smollm3":
                return layer in self._no_rope(layers)["layers_without_rope"]
            return True

        return [_LAYER_TYPES[windowed(layer)] for layer in range(layers)]

    def _pattern(self) -> int:
        """Every how many layers one has no window; the older name is known beside ``layer_types`` alone."""
        pattern = self._given_integer("sliding_window_pattern")
        old = self._config.get("_sliding_window_pattern")
        if old not in (None, pattern) and self._value("layer_types") is None:
            raise self._wrong("_sliding_window_pattern", f"{pattern} where layer_types is not given", old)
        return pattern

    def _scaling(self) -> dict[str, object]:
        """Constants that embedding, residuals and logits are multiplied by, and soft caps."""
        if self._kind == "granite":
            names = ("embedding_multiplier", "residual_multiplier", "logits_scaling")
            values = [self._number(name, 1.0) for name in (*names, "attention_multiplier")]
            kinds = zip(("embedding", "residual", "logits"), values, strict=False)
            return {"scaled": tuple(kind for kind, value in kinds if value != 1)}
        if not self._kind.startswith("gemma"):
            return {}
        self._number("query_pre_attn_scalar", 256)
        caps = {"attention_softcap": "attn_logit_softcapping", "logit_softcap": "final_logit_softcapping"}
        found = {}
        for ours, theirs in caps.items():
            value = self._value(theirs)
            if value is not None and (type(value) not in (int, float) or value <= 0):
                raise self._wrong(theirs, "a number above 0, or null", value)
            found[ours] = value is not None
        return found

    def _experts(self, sizes: Mapping[str, int]) -> dict[str, object] | None:
        reads = self._family.reads
        if "num_experts_per_tok" not in reads:
            return None
        found = {"count": self._expert_count(), "per_token": self._given_integer("num_experts_per_tok")}
        if "moe_intermediate_size" not in reads:
            return found | {"size": sizes["intermediate_size"]}
        step, only = self._given_integer("decoder_sparse_step"), self._config.get("mlp_only_layers") or []
        if not isinstance(only, list) or any(type(layer) is not int for layer in only):
            raise self._wrong("mlp_only_layers", "a list of layer numbers", only)
        dense = [layer for layer in range(sizes["layers"]) if layer in only or (layer + 1) % step]
        found |= {"size": self._given_integer("moe_intermediate_size"), "dense_layers": tuple(dense)}
        if "shared_expert_intermediate_size" in reads:
            found["shared_size"] = self._optional_integer("shared_expert_intermediate_size")
        return found

    def _expert_count(self) -> int:
        """Of one field under two names, of which ``num_local_experts`` is Mixtral's own."""
        new, old = "num_experts", "num_local_experts"
        if old not in self._family.reads or old not in self._config:
            return self._given_integer(new)
        if new in self._config and self._config[new] != self._config[old]:
            raise self._wrong(new, f"what {old} is ({self._config[old]!r})", self._config[new])
        return self._given_integer(old)

    def _wrong(self, field: str, wanted: str, value: object) -> InputError:
        return InputError(f"{self._where}: field {field!r} must be {wanted}, not {_short(value)}")


def _says_something(fields: Mapping[str, object], name: str) -> bool:
    """Whether a field that nobody reads asks for anything: null, false, zero and empty do not, but for ``NEUTRAL``."""
    return fields[name] is not None if name in NEUTRAL else bool(fields[name])


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
