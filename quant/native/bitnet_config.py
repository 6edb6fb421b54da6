"""What config.json says about BitNet's linears; without torch, so that a simulation can ask what a folder holds."""

import json
from pathlib import Path
from typing import Literal, NamedTuple

from hw.errors import InputError

__all__ = ["BitnetForm", "bitnet_form"]

# The first models' names of the sub-norms, as their own modelling file has them.
_FIRST_NAMES = {"inner_attn_ln": "attn_sub_norm", "ffn_layernorm": "ffn_sub_norm"}
_DECODER = ("self_attn", "mlp", "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "layers")


class BitnetForm(NamedTuple):
    """How a folder stores its linears. ``first``: the first models' tensor names, and no ``quantization_config``."""

    linear_class: Literal["bitlinear", "autobitlinear"]
    online: bool
    first: bool = False

    def transformers_name(self, name: str) -> str:
        """The name of a tensor in transformers' BitNet."""
        parts = name.split(".")
        return ".".join(_FIRST_NAMES.get(part, part) for part in parts) if self.first else name


def bitnet_form(folder: Path) -> BitnetForm | None:
    """The form of a folder with a BitNet checkpoint, or None: another one, or none that can be read.

    Raises:
        InputError: a BitNet checkpoint with a setting that changes the function and is not supported.
    """
    path = Path(folder) / "config.json"
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    if not isinstance(config, dict):
        return None
    quantization = config.get("quantization_config")
    if not isinstance(quantization, dict) or quantization.get("quant_method") != "bitnet":
        first = config.get("architectures") == ["BitnetForCausalLM"] and config.get("weight_bits") == 1
        return BitnetForm("autobitlinear", online=True, first=True) if first else None
    field = f"{path}: field 'quantization_config'"
    linear_class = quantization.get("linear_class", "bitlinear")
    mode = quantization.get("quantization_mode", "offline")
    if linear_class not in ("bitlinear", "autobitlinear") or mode not in ("offline", "online"):
        raise InputError(
            f"{field}: linear_class must be bitlinear or autobitlinear and quantization_mode offline or online, "
            f"not {linear_class!r} and {mode!r}"
        )
    if quantization.get("use_rms_norm"):
        raise InputError(f"{field}: use_rms_norm must be false: a norm inside every linear has no place in the array")
    kept = quantization.get("modules_to_not_convert") or []
    if not isinstance(kept, list):
        raise InputError(f"{field}: modules_to_not_convert must be a list of modules, not {kept!r}")
    if apart := [name for name in kept if any(part in _DECODER for part in str(name).split("."))]:
        raise InputError(
            f"{field}: modules_to_not_convert must name no decoder linear, not {apart[0]!r}: every linear of the array "
            "is ternary"
        )
    return BitnetForm(linear_class, online=linear_class == "autobitlinear" and mode == "online")
