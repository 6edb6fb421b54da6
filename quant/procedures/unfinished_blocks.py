"""Blocks under way on disk: what a killed job of full strength goes on from, with the same bits.

One file for each place of the sliding window: its first block, which is done, and the drafts of those after it.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from hw.artifact import atomic_path
from quant.methods.pt_bitnet import Options
from quant.procedures.latent import BlockTensors, LatentWeight
from quant.shapes import LINEAR_KINDS

__all__ = ["read_window", "write_window"]


def write_window(path: Path, window: Sequence[BlockTensors]) -> None:
    """Keep all tensors of consecutive blocks, in one file that is there whole or not at all."""
    stored = {}
    for place, tensors in enumerate(window):
        named = {"attention_norm": tensors.attention_norm, "mlp_norm": tensors.mlp_norm}
        for kind, weight, bias in zip(LINEAR_KINDS, tensors.weights, tensors.biases, strict=True):
            arrays = weight._asdict() | {"bias": bias}
            named |= {f"{kind}.{name}": value for name, value in arrays.items() if isinstance(value, Tensor)}
        stored |= {f"{place}.{name}": value.detach().contiguous() for name, value in named.items()}
    with atomic_path(path) as temporary:
        save_file(stored, temporary)


def read_window(path: Path, options: Options, device: torch.device) -> list[BlockTensors]:
    """The blocks of ``write_window``; their groups of columns are those of ``options``."""
    stored = load_file(path, device=str(device))

    def weight(place: int, kind: str) -> LatentWeight:
        arrays = {name: stored.get(f"{place}.{kind}.{name}") for name in LatentWeight._fields}
        return LatentWeight(**arrays | {"group": options.for_kind(kind).group})

    return [
        BlockTensors(
            weights=tuple(weight(place, kind) for kind in LINEAR_KINDS),
            biases=tuple(stored.get(f"{place}.{kind}.bias") for kind in LINEAR_KINDS),
            attention_norm=stored[f"{place}.attention_norm"],
            mlp_norm=stored[f"{place}.mlp_norm"],
        )
        for place in range(1 + max(int(name.partition(".")[0]) for name in stored))
    ]
