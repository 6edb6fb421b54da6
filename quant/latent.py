"""A transformer block as a pure function of its tensors, with ternary weights trained through latent ones.

A latent weight u is dimensionless: its code is ``clip(round(u), -1, 1)`` and the weight is the group's scale times the
code. Gradients pass the rounding straight through (Bengio et al., arXiv 1308.3432), to the latent weight from the code
and to the scale from the product. One function for all blocks means one compilation for all of them on a GPU.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from quant.llama import block_linears, quantize_dequantize
from quant.shapes import LINEAR_KINDS
from quant.solution import LinearSolution

__all__ = [
    "BlockFunction",
    "BlockTensors",
    "FrozenWeight",
    "LatentWeight",
    "block_function",
    "block_tensors",
    "freeze",
    "latent_weight",
    "rotary_tables",
    "to_solution",
]

BlockFunction = Callable[..., Tensor]  # hidden, cosine, sine, BlockTensors -> hidden

_COMPILATIONS = 64  # of the block function: teacher or student, trained or not, shapes; torch's own limit is 8

_EDGE = 0.51  # where a latent weight starts that must round to another code than its weight does


class LatentWeight(NamedTuple):
    """What trains instead of a weight.

    ``latent``: float32 (n, k); ``scales``: float32 (n, groups), or (n, 1) of the rows where ``powers`` float32
    (n, groups), powers of two at most 1 that stay as they are, make the groups' scales out of them.
    """

    latent: Tensor
    scales: Tensor
    group: int
    powers: Tensor | None = None

    def group_scales(self) -> Tensor:
        """(n, groups)."""
        return self.scales if self.powers is None else self.scales * self.powers

    def codes(self) -> Tensor:
        """Float codes (n, k) that the latent weights round to."""
        return self.latent.detach().round().clamp(-1, 1)

    def dense(self) -> Tensor:
        """Scale times code (n, k), differentiable in both."""
        codes = self.codes() - self.latent.detach() + self.latent
        return self.group_scales().repeat_interleave(self.group, 1)[:, : self.latent.shape[1]] * codes


class FrozenWeight(NamedTuple):
    """A weight whose codes no longer change: ``trits`` int8 (n, k), the rest as in ``LatentWeight``."""

    trits: Tensor
    scales: Tensor
    group: int
    powers: Tensor | None = None

    def group_scales(self) -> Tensor:
        """(n, groups)."""
        return self.scales if self.powers is None else self.scales * self.powers

    def codes(self) -> Tensor:
        """Float codes (n, k)."""
        return self.trits.to(self.scales.dtype)

    def dense(self) -> Tensor:
        """Scale times code (n, k), differentiable in the scales."""
        return self.group_scales().repeat_interleave(self.group, 1)[:, : self.trits.shape[1]] * self.codes()


class BlockTensors(NamedTuple):
    """One block: the weights in the order of ``LINEAR_KINDS``, their biases, two norms."""

    weights: tuple[Tensor | LatentWeight | FrozenWeight, ...]
    biases: tuple[Tensor | None, ...]
    attention_norm: Tensor
    mlp_norm: Tensor

    def trained(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Latent weights, scales, and norm gains."""
        latents = [weight.latent for weight in self.weights if isinstance(weight, LatentWeight)]
        scales = [weight.scales for weight in self.weights if not isinstance(weight, Tensor)]
        return latents, scales, [self.attention_norm, self.mlp_norm]


def latent_weight(weight: Tensor, solution: LinearSolution) -> LatentWeight:
    """Latent weights that round to the solution's codes, as near to ``weight`` over its scale as that allows."""
    group = solution.group or solution.k
    scales = solution.scales[0].float()
    spread = scales.repeat_interleave(group, 1)[:, : solution.k]
    latent = weight.float() / torch.where(spread > 0, spread, torch.inf)
    codes = solution.trits[0].float()
    inside = latent.clamp(_EDGE - 1, 1 - _EDGE)
    outside = codes * (codes * latent).clamp(_EDGE, 1.5)
    latent = torch.where(codes == 0, inside, outside)
    if solution.scale_kind == "pow2":
        return LatentWeight(latent, scales.amax(1, keepdim=True), group, torch.exp2(-solution.exponents().float()))
    return LatentWeight(latent, scales, group)


def freeze(tensors: BlockTensors) -> BlockTensors:
    """The same block with the codes of its latent weights kept as integers: a quarter of the memory."""
    weights = (FrozenWeight(w.codes().to(torch.int8), w.scales, w.group, w.powers) for w in tensors.weights)
    return tensors._replace(weights=tuple(weights))


def to_solution(weight: LatentWeight | FrozenWeight, group: int | None) -> LinearSolution:
    """The codes and the float16 scales that a trained weight stands for; a scale that went negative turns its codes."""
    stored = weight._replace(scales=weight.scales.detach().half().float()).group_scales()
    codes = weight.codes()
    signs = stored.sign().repeat_interleave(weight.group, 1)[:, : codes.shape[1]]
    kind = "row" if group is None else "group" if weight.powers is None else "pow2"
    return LinearSolution((codes * signs).to(torch.int8)[None], stored.abs().half()[None], group, kind)


def block_tensors(block: nn.Module) -> BlockTensors:
    """The tensors of a transformers decoder layer, shared with it."""
    linears = block_linears(block, 0)
    return BlockTensors(
        weights=tuple(linear.module.weight for linear in linears),
        biases=tuple(linear.module.bias for linear in linears),
        attention_norm=block.input_layernorm.weight,
        mlp_norm=block.post_attention_layernorm.weight,
    )


def rotary_tables(model: PreTrainedModel, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary embedding: float32 ``(length, head_dim)`` each."""
    device = next(model.parameters()).device
    positions = torch.arange(length, device=device)[None]
    cosine, sine = model.model.rotary_emb(torch.zeros(1, device=device), positions)
    return cosine[0], sine[0]


def block_function(model: PreTrainedModel, int8: bool, compiled: bool) -> BlockFunction:
    """``f(hidden, cosine, sine, BlockTensors) -> hidden`` for the blocks of ``model``; silu-gated LLaMA relatives.

    ``int8``: per-token int8 activations at every linear; ``compiled``: by torch.compile, worth it on a GPU.
    """
    config = model.config
    return _block_function(config.num_attention_heads, config.num_key_value_heads, config.rms_norm_eps, int8, compiled)


@lru_cache(maxsize=8)
def _block_function(heads: int, kv_heads: int, eps: float, int8: bool, compiled: bool) -> BlockFunction:
    def forward(hidden: Tensor, cosine: Tensor, sine: Tensor, tensors: BlockTensors) -> Tensor:
        dense = {
            kind: (weight if isinstance(weight, Tensor) else weight.dense(), bias)
            for kind, weight, bias in zip(LINEAR_KINDS, tensors.weights, tensors.biases, strict=True)
        }

        def linear(kinds: Sequence[str], x: Tensor) -> list[Tensor]:
            x = quantize_dequantize(x.float()) if int8 else x
            return [nn.functional.linear(x, *dense[kind]) for kind in kinds]

        def split(x: Tensor, count: int) -> Tensor:  # (B, L, n) -> (B, count, L, head_dim)
            return x.unflatten(-1, (count, -1)).transpose(1, 2)

        q, k, v = linear(("q_proj", "k_proj", "v_proj"), _rms_norm(hidden, tensors.attention_norm, eps))
        q, k, v = split(q, heads), split(k, kv_heads), split(v, kv_heads)
        q, k = _rotate(q, cosine, sine), _rotate(k, cosine, sine)
        k, v = (x.repeat_interleave(heads // kv_heads, 1) for x in (k, v))
        attended = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        hidden = hidden + linear(("o_proj",), attended.transpose(1, 2).flatten(2))[0]
        gate, up = linear(("gate_proj", "up_proj"), _rms_norm(hidden, tensors.mlp_norm, eps))
        return hidden + linear(("down_proj",), nn.functional.silu(gate) * up)[0]

    if not compiled:
        return forward
    torch._dynamo.config.recompile_limit = _COMPILATIONS
    return torch.compile(forward, dynamic=False)


def _rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    x = x.float()
    return gain * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps))


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary embedding of (B, heads, L, head_dim); pairs are (i, i + head_dim / 2)."""
    first, second = x.chunk(2, -1)
    return (x * cosine + torch.cat((-second, first), -1) * sine).to(x.dtype)
