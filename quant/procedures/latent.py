"""A transformer block as a pure function of its tensors, with ternary weights trained through latent ones.

A latent weight u is dimensionless: its code is ``clip(round(u), -1, 1)``, or its sign unless it is the smallest of
four, and the weight is the group's scale times the code. Gradients pass the rounding straight through (Bengio et al.,
arXiv 1308.3432), to the latent weight from the code and to the scale from the product. One function for all blocks
means one compilation for all of them on a GPU.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hw.errors import InputError
from quant.llama.blocks import (
    LoadedModel,
    block_linears,
    blocks,
    embed,
    quantize_dequantize,
    run_block,
    working_block,
)
from quant.llama.self_test import probe_tokens
from quant.methods.sherry import keep_three
from quant.shapes import LINEAR_KINDS
from quant.weights.side_data import LowRank
from quant.weights.solution import LinearSolution

__all__ = [
    "BlockFunction",
    "BlockTensors",
    "LatentWeight",
    "block_function",
    "block_tensors",
    "check_blocks",
    "latent_weight",
    "rms_norm",
    "rotary_tables",
]

BlockFunction = Callable[..., Tensor | tuple[Tensor, Tensor]]  # see block_function
Attention = Callable[[Tensor, Tensor, Tensor], Tensor]

_COMPILATIONS = 64  # of the block function: teacher or student, trained or not, shapes; torch's own limit is 8

_LARGEST = 1.5  # where a latent weight starts at most: as far beyond its code as the edge of rounding is before it
_BLOCK_TOLERANCE = 2e-2  # of the outputs' norm; TF32 on a GPU is within it, another function is not

_EDGE = 0.51  # where a latent weight starts that must round to another code than its weight does


class LatentWeight(NamedTuple):
    """What trains instead of a weight.

    ``latent``: float32 (n, k), or the int8 codes once they are frozen; ``scales``: float32 (n, groups), or (n, 1) of
    the rows where ``powers`` float32 (n, groups), powers of two at most 1 that stay as they are, make the groups'
    scales out of them; ``group``: columns per scale, None = the row; ``hardness``: 0-dim, in 0..1, how far a value
    stands on the way from its clamped latent weight to its code, None = at the code; ``left`` (n, r) and ``right``
    (r, k), both float32 or None: factors of what is added to scale times code; ``three_of_four``: whether codes are
    those of ``quant.methods.sherry``.
    """

    latent: Tensor
    scales: Tensor
    group: int | None
    powers: Tensor | None = None
    hardness: Tensor | None = None
    left: Tensor | None = None
    right: Tensor | None = None
    three_of_four: bool = False

    @property
    def frozen(self) -> bool:
        """Whether the codes no longer change."""
        return not self.latent.is_floating_point()

    def codes(self) -> Tensor:
        """Float codes (n, k), those that the latent weights round to."""
        if self.frozen:
            return self.latent.to(self.scales.dtype)
        if self.three_of_four:
            return keep_three(self.latent.detach())
        return self.latent.detach().round().clamp(-1, 1)

    def group_scales(self) -> Tensor:
        """(n, groups)."""
        return self.scales if self.powers is None else self.scales * self.powers

    def dense(self) -> Tensor:
        """The weight (n, k), differentiable in all that trains: frozen codes do not."""
        values = self.codes()
        if not self.frozen:
            latent = self.latent.detach()
            if self.hardness is not None:
                values = torch.lerp(latent.clamp(-1, 1), values, self.hardness)
            values = values - latent + self.latent
        weight = self._spread(self.group_scales()) * values
        return weight if self.left is None else weight + self.left @ self.right

    def freeze(self) -> "LatentWeight":
        """The same with its codes as integers: a quarter of the memory."""
        return self._replace(latent=self.codes().to(torch.int8))

    def solution(self) -> LinearSolution:
        """The codes and what float16 leaves of the rest; a scale that went negative turns its codes."""
        stored = self._replace(scales=self.scales.detach().half().float()).group_scales()
        turned = torch.where(stored < 0, -1.0, 1.0) if self.three_of_four else stored.sign()
        trits = (self.codes() * self._spread(turned)).to(torch.int8)
        kind = "row" if self.group is None else "group" if self.powers is None else "pow2"
        low_rank = None if self.left is None else LowRank(self.left.detach().half(), self.right.detach().half())
        layout = "three-of-four" if self.three_of_four else "trits"
        return LinearSolution(trits[None], stored.abs().half()[None], self.group, kind, layout, low_rank=low_rank)

    def _spread(self, values: Tensor) -> Tensor:
        """Of each group, (n, groups), to each weight, (n, k)."""
        columns = self.latent.shape[1]
        return values.repeat_interleave(self.group or columns, 1)[:, :columns]


class BlockTensors(NamedTuple):
    """One block: the weights in the order of ``LINEAR_KINDS``, their biases, two norms."""

    weights: tuple[Tensor | LatentWeight, ...]
    biases: tuple[Tensor | None, ...]
    attention_norm: Tensor
    mlp_norm: Tensor

    def trained(self) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Latent weights; scales and low-rank factors; norm gains. Float weights do not train."""
        ternary = [weight for weight in self.weights if isinstance(weight, LatentWeight)]
        latents = [weight.latent for weight in ternary if not weight.frozen]
        factors = [factor for one in ternary for factor in (one.scales, one.left, one.right) if factor is not None]
        return latents, factors, [self.attention_norm, self.mlp_norm]

    def copied(self) -> "BlockTensors":
        """The same block; what trains of it in memory of its own."""
        weights = tuple(type(one)(*map(_copied, one)) if isinstance(one, LatentWeight) else one for one in self.weights)
        return self._replace(
            weights=weights, attention_norm=_copied(self.attention_norm), mlp_norm=_copied(self.mlp_norm)
        )

    def freeze(self) -> "BlockTensors":
        """The same block with frozen codes."""
        return self._replace(weights=tuple(weight.freeze() for weight in self.weights))

    def soften(self, hardness: Tensor) -> "BlockTensors":
        """The same block, its tensors shared, with codes as hard as ``hardness``, 0-dim, says at the time."""
        weights = (one._replace(hardness=hardness) if isinstance(one, LatentWeight) else one for one in self.weights)
        return self._replace(weights=tuple(weights))


def _copied(value: Tensor | int | None) -> Tensor | int | None:
    return value.detach().clone() if isinstance(value, Tensor) else value


def latent_weight(weight: Tensor, solution: LinearSolution, rank: int = 0) -> LatentWeight:
    """Latent weights that round to the solution's codes, as near to ``weight`` over its scale as that allows.

    A low-rank correction starts at zero, so that training starts from the solution, and looks in the directions that
    the solution loses most of: ``right`` holds the first ``rank`` right singular vectors of the weights' error, scaled
    to a mean square of 1, so that a step of ``left`` moves a weight as far as a step of its scale does.
    """
    scales = solution.scales[0].float()
    spread = scales.repeat_interleave(solution.group or solution.k, 1)[:, : solution.k]
    latent = weight.float() / torch.where(spread > 0, spread, torch.inf)
    codes = solution.trits[0].float()
    inside = latent.clamp(_EDGE - 1, 1 - _EDGE)
    outside = codes * (codes * latent).clamp(_EDGE, _LARGEST)
    latent = torch.where(codes == 0, inside, outside)
    sparse = solution.layout == "three-of-four"
    if solution.scale_kind == "pow2":
        powers = torch.exp2(-solution.exponents().float())
        found = LatentWeight(latent, scales.amax(1, keepdim=True), solution.group, powers)
    else:
        found = LatentWeight(latent, scales, solution.group, three_of_four=sparse)
    if not rank:
        return found
    error = weight.float() - solution.dense()
    right = torch.linalg.eigh(error.T @ error).eigenvectors[:, -rank:].T.contiguous() * solution.k**0.5
    return found._replace(left=error.new_zeros(len(error), len(right)), right=right)


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


@torch.no_grad()
def check_blocks(loaded: LoadedModel, length: int) -> None:
    """Compare ``block_function`` with every block of the model; ``length``: of the longest window it will be given.

    Raises:
        InputError: a block of another form than LLaMA's, or a sliding window shorter than ``length``.
    """
    model, shape = loaded.model, loaded.shape
    remedy = "give a method that solves linear by linear, such as pt-bitnet, gptq or rtn"
    if short := [window for window in shape.windows if window is not None and window < length]:
        raise InputError(
            f"model {shape.name!r}: training whole blocks needs windows of at most the {short[0]} tokens that its "
            f"attention sees, not {length}; use --length {short[0]}, or {remedy}"
        )
    tokens = probe_tokens(shape).to(model.lm_head.weight.device)
    hidden, tables = embed(model, tokens), None
    plain = shape.pre_norms and not (shape.post_norms or shape.logit_softcap or "logits" in shape.scaled)
    for layer in range(len(blocks(model))):
        block = working_block(model, layer)
        wanted = run_block(model, block, hidden)
        difference = 1.0
        if plain:
            tables = tables or rotary_tables(model, tokens.shape[1])
            found = block_function(model, int8=False, compiled=False)(hidden, *tables, block_tensors(block))
            difference = ((found - wanted).norm() / wanted.norm()).item()
        if difference > _BLOCK_TOLERANCE:  # what is not finite is named where it is met
            raise InputError(
                f"model {shape.name!r}: layer {layer} of a {model.config.model_type} model must be a block of LLaMA's "
                f"form for methods that train whole blocks; {remedy}"
            )
        hidden = wanted


def block_function(
    model: PreTrainedModel, int8: bool, compiled: bool, ranges: bool = False, attention: Attention | None = None
) -> BlockFunction:
    """``f(hidden, cosine, sine, BlockTensors) -> hidden`` for the blocks of ``model``; silu-gated LLaMA relatives.

    ``int8``: per-token int8 activations at every linear; ``compiled``: by torch.compile, worth it on a GPU. With
    ``ranges`` it returns ``(hidden, range)``: the mean over tokens and the four inputs of linears (before int8) of
    the logarithm of the largest magnitude over the root mean square, 0-dim. ``attention``: causal, of q, k and v
    ``(batch, heads, length, head_dim)``, in place of the exact one; equal ones are one function.
    """
    config = model.config
    heads, kv_heads = config.num_attention_heads, config.num_key_value_heads
    return _block_function(heads, kv_heads, config.rms_norm_eps, int8, compiled, ranges, attention or _exact)


@lru_cache(maxsize=8)
def _block_function(
    heads: int, kv_heads: int, eps: float, int8: bool, compiled: bool, ranges: bool, attention: Attention
) -> BlockFunction:
    def forward(hidden: Tensor, cosine: Tensor, sine: Tensor, tensors: BlockTensors) -> Tensor | tuple[Tensor, Tensor]:
        found: list[Tensor] = []
        dense = {
            kind: (weight if isinstance(weight, Tensor) else weight.dense(), bias)
            for kind, weight, bias in zip(LINEAR_KINDS, tensors.weights, tensors.biases, strict=True)
        }

        def linear(kinds: Sequence[str], x: Tensor) -> list[Tensor]:
            if ranges:
                found.append(_range(x.float()))
            x = quantize_dequantize(x.float()) if int8 else x
            return [nn.functional.linear(x, *dense[kind]) for kind in kinds]

        def split(x: Tensor, count: int) -> Tensor:  # (B, L, n) -> (B, count, L, head_dim)
            return x.unflatten(-1, (count, -1)).transpose(1, 2)

        q, k, v = linear(("q_proj", "k_proj", "v_proj"), rms_norm(hidden, tensors.attention_norm, eps))
        q, k, v = split(q, heads), split(k, kv_heads), split(v, kv_heads)
        q, k = _rotate(q, cosine, sine), _rotate(k, cosine, sine)
        k, v = (x.repeat_interleave(heads // kv_heads, 1) for x in (k, v))
        attended = attention(q, k, v)
        hidden = hidden + linear(("o_proj",), attended.transpose(1, 2).flatten(2))[0]
        gate, up = linear(("gate_proj", "up_proj"), rms_norm(hidden, tensors.mlp_norm, eps))
        hidden = hidden + linear(("down_proj",), nn.functional.silu(gate) * up)[0]
        return (hidden, torch.stack(found).mean()) if ranges else hidden

    if not compiled:
        return forward
    torch._dynamo.config.recompile_limit = _COMPILATIONS
    return torch.compile(forward, dynamic=False)


def _exact(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)


def rms_norm(x: Tensor, gain: Tensor, eps: float) -> Tensor:
    """``x / rms(x) * gain`` along the last axis, in float32."""
    x = x.float()
    return gain * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps))


def _range(x: Tensor) -> Tensor:
    """Mean over tokens of ln(largest magnitude / root mean square)."""
    tiny = torch.finfo(x.dtype).tiny
    return (x.abs().amax(-1).clamp_min(tiny).log() - x.square().mean(-1).clamp_min(tiny).log() / 2).mean()


def _rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Rotary embedding of (B, heads, L, head_dim); pairs are (i, i + head_dim / 2)."""
    first, second = x.chunk(2, -1)
    return (x * cosine + torch.cat((-second, first), -1) * sine).to(x.dtype)
