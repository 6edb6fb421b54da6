"""Blocks under way on disk: what a killed training goes on from, with the same bits.

One file for each place of the sliding window: its first block, which is done, and the drafts of those after it. The
columns per scale of each weight, 0 for whole rows, are in the file's metadata, with a mark where three of four codes
are signs.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from hw.artifact import atomic_path
from quant.procedures.latent import BlockTensors, LatentWeight
from quant.shapes import LINEAR_KINDS

__all__ = ["read_window", "write_window"]

_THREE_OF_FOUR = " three-of-four"  # after the columns per scale


def write_window(path: Path, window: Sequence[BlockTensors]) -> None:
    """Keep all tensors of consecutive blocks, in one file that is there whole or not at all."""
    stored, groups = {}, {}
    for place, tensors in enumerate(window):
        named = {"attention_norm": tensors.attention_norm, "mlp_norm": tensors.mlp_norm}
        for kind, weight, bias in zip(LINEAR_KINDS, tensors.weights, tensors.biases, strict=True):
            arrays = weight._asdict() | {"bias": bias}
            named |= {f"{kind}.{name}": value for name, value in arrays.items() if isinstance(value, Tensor)}
            groups[f"{place}.{kind}"] = f"{weight.group or 0}{_THREE_OF_FOUR if weight.three_of_four else ''}"
        stored |= {f"{place}.{name}": value.detach().contiguous() for name, value in named.items()}
    with atomic_path(path) as temporary:
        save_file(stored, temporary, metadata=groups)


def read_window(path: Path, device: torch.device) -> list[BlockTensors]:
    """The blocks of ``write_window``."""
    with safe_open(path, framework="pt", device=str(device)) as file:
        groups = file.metadata()
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)

    def weight(place: int, kind: str) -> LatentWeight:
        arrays = {name: stored.get(f"{place}.{kind}.{name}") for name in LatentWeight._fields}
        group = groups[f"{place}.{kind}"]
        columns = int(group.removesuffix(_THREE_OF_FOUR)) or None
        return LatentWeight(**arrays | {"group": columns, "three_of_four": group.endswith(_THREE_OF_FOUR)})

    return [
        BlockTensors(
            weights=tuple(weight(place, kind) for kind in LINEAR_KINDS),
            biases=tuple(stored.get(f"{place}.{kind}.bias") for kind in LINEAR_KINDS),
            attention_norm=stored[f"{place}.attention_norm"],
            mlp_norm=stored[f"{place}.mlp_norm"],
        )
        for place in range(1 + max(int(name.partition(".")[0]) for name in stored))
    ]
