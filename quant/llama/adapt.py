"""Modules of transformers in one form for all families: the linears of a block apart, norms with plain gains.

Phi-3 packs q, k and v, and gate and up, into one matrix each; Gemma's norms multiply by 1 + weight. Both become what
the other families have, in place, and ``file_state`` gives back what a file of the family holds.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

__all__ = ["GainNorm", "PackedLinear", "adapt", "file_state"]

# Name of a packed linear: kinds of the linears in its rows, in order.
_PACKED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


class PackedLinear(nn.Module):
    """Linears of one input whose outputs follow each other: ``(..., k)`` -> ``(..., n1 + n2 + ...)``."""

    def __init__(self, packed: nn.Linear, sizes: dict[str, int]) -> None:
        """``sizes``: rows of ``packed`` by kind of linear, in order."""
        super().__init__()
        rows = list(sizes.values())
        biases = [None] * len(rows) if packed.bias is None else packed.bias.split(rows)
        for kind, weight, bias in zip(sizes, packed.weight.split(rows), biases, strict=True):
            linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
            linear.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
            if bias is not None:
                linear.bias = nn.Parameter(bias.detach().clone(), requires_grad=False)
            self.add_module(kind, linear)

    def forward(self, x: Tensor) -> Tensor:
        """The packed matrix's product."""
        return torch.cat([linear(x) for linear in self.children()], -1)


class GainNorm(nn.Module):
    """RMSNorm that multiplies by its weight, of one that multiplied by 1 + weight."""

    def __init__(self, weight: Tensor, eps: float) -> None:
        """``weight``: the other's, ``(width,)``."""
        super().__init__()
        self.weight = nn.Parameter(1 + weight.detach().float(), requires_grad=False)
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """``x / rms(x) * weight`` along the last axis, in the type of x."""
        wide = x.float()
        return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps) * self.weight).to(x.dtype)


@torch.no_grad()
def adapt(model: PreTrainedModel) -> None:
    """Replace packed linears and norms of 1 + weight in place."""
    config = model.config
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    sizes = {
        "q_proj": config.num_attention_heads * head,
        "k_proj": config.num_key_value_heads * head,
        "v_proj": config.num_key_value_heads * head,
        "gate_proj": config.intermediate_size,
        "up_proj": config.intermediate_size,
    }
    for parent, name, module in _children(model):
        if name in _PACKED and isinstance(module, nn.Linear):
            setattr(parent, name, PackedLinear(module, {kind: sizes[kind] for kind in _PACKED[name]}))
        elif config.model_type.startswith("gemma") and name.endswith("norm"):
            setattr(parent, name, GainNorm(module.weight, module.eps))


@torch.no_grad()
def file_state(model: PreTrainedModel) -> dict[str, Tensor]:
    """The tensors of a file of the model's family, by name; without a head that is the embedding."""
    found = dict(model.state_dict())
    for path, module in model.named_modules():
        if isinstance(module, GainNorm):
            found[f"{path}.weight"] = module.weight - 1
        elif isinstance(module, PackedLinear):
            for name in ("weight", "bias"):
                parts = [found.pop(f"{path}.{kind}.{name}", None) for kind, _ in module.named_children()]
                if parts[0] is not None:
                    found[f"{path}.{name}"] = torch.cat(parts)
    if model.config.tie_word_embeddings:
        found.pop("lm_head.weight", None)
    return found


def _children(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Every module with its parent and its name there, as they are at the start."""
    yield from [(parent, name, child) for parent in model.modules() for name, child in parent.named_children()]
