"""The tensors that a model needs against those that its file has: the same names, the same sizes, or a refusal.

Names are those of a Hugging Face file. Tensors of a GGUF file get them here, with their rows in the order of the
family's module.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import gguf
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, PretrainedConfig

from hw.errors import InputError
from quant.gguf_config import ARCHITECTURES, FREQUENCY_TENSORS
from quant.gguf_file import GgufFile, tensor_values

__all__ = ["check_tensors", "gguf_names", "gguf_state", "needed_tensors", "present_in_gguf"]

Shapes = Mapping[str, tuple[int, ...]]

_NAMED = 3  # of the tensors that a refusal is about
_UNUSED = ("rotary_emb.inv_freq",)  # tables that every version computes anew

# llama.cpp's rotary pairs of these are neighbours (2 i, 2 i + 1), transformers' are halves (i, i + d / 2).
_NEIGHBOURS = ("llama", "mistral", "smollm3", "granite")


def needed_tensors(config: PretrainedConfig) -> dict[str, tuple[int, ...]]:
    """Sizes by name of all tensors that transformers' model has; without a head that is the embedding."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config)
    found = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    if config.tie_word_embeddings:
        found.pop("lm_head.weight", None)
    return found


def check_tensors(path: Path, needed: Shapes, present: Shapes, spellings: Mapping[str, str] | None = None) -> None:
    """Refuse a file that has not exactly the tensors needed.

    ``spellings``: what the file calls each needed tensor, where it is not the same. Known and unused are tables of
    rotary frequencies.

    Raises:
        InputError: missing tensors, tensors that no module takes, or one of another size, by name.
    """
    spellings = spellings or {}
    wanted = {spellings.get(name, name): shape for name, shape in needed.items()}
    missing = [name for name in wanted if name not in present]
    unexpected = [name for name in present if name not in wanted and not name.endswith(_UNUSED)]
    if missing and unexpected:
        raise InputError(
            f"{path}: {_listed(missing)} missing, and {_listed(unexpected)} there without a place in the architecture "
            "that the config describes; the weights are of another model, packed, or renamed"
        )
    if missing:
        raise InputError(f"{path}: {_listed(missing)} missing; the weights are not whole: fetch all files again")
    if unexpected:
        raise InputError(
            f"{path}: {_listed(unexpected)} there, but the architecture that the config describes has no place for "
            f"{'it' if len(unexpected) == 1 else 'them'}; the weights are of another model, or of a config with more "
            "layers, norms or biases"
        )
    for name, shape in wanted.items():
        if tuple(present[name]) != tuple(shape):
            raise InputError(
                f"{path}: tensor {name!r} must be {tuple(shape)} by the config, not {tuple(present[name])}"
            )


def gguf_names(file: GgufFile, needed: Shapes) -> dict[str, str]:
    """What the GGUF file calls each needed tensor.

    Raises:
        InputError: a tensor that this architecture has no name for.
    """
    kind = file.fields["general.architecture"]
    architecture = next(one for one, name in gguf.MODEL_ARCH_NAMES.items() if name == _official(kind))
    layers = 1 + max((int(name.split(".")[2]) for name in needed if name.startswith("model.layers.")), default=0)
    table, found = gguf.get_tensor_name_map(architecture, layers), {}
    for name in needed:
        theirs = table.get_name(name, (".weight", ".bias"))
        if theirs is None:
            raise InputError(f"{file.path}: architecture {kind!r} has no tensor for {name!r}")
        found[name] = theirs
    return found


def gguf_state(file: GgufFile, config: PretrainedConfig, names: Mapping[str, str]) -> Iterator[tuple[str, Tensor]]:
    """The tensors under their Hugging Face names, float32."""
    kind = file.fields["general.architecture"]
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, theirs in names.items():
        values = torch.from_numpy(tensor_values(file, theirs).copy())
        linear = name.split(".")[-2]
        if linear in heads and kind in _NEIGHBOURS:
            pairs = values.unflatten(0, (heads[linear], -1, 2))
            values = pairs.transpose(1, 2).flatten(0, 2)
        elif ARCHITECTURES[kind].startswith("gemma") and linear.endswith("norm"):
            values = values - 1  # the file has the gain, the module 1 + its weight
        yield name, values.contiguous()


def present_in_gguf(file: GgufFile) -> dict[str, tuple[int, ...]]:
    """Sizes by name of the file's tensors that are weights."""
    return {name: tensor.shape for name, tensor in file.tensors.items() if name not in FREQUENCY_TENSORS}


def _official(kind: str) -> str:
    return {"mistral": "llama"}.get(kind, kind)


def _listed(names: list[str]) -> str:
    shown = ", ".join(map(repr, names[:_NAMED]))
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"tensor {shown} is" if len(names) == 1 else f"tensors {shown}{more} are"
