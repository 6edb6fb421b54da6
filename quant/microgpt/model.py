"""microGPT in our LLaMA's dialect: one block of 24 channels and 4 heads of 6 over 16 tokens of 27 letters.

RoPE stands for the learned positions, a SiLU gate of 64 for 96 ReLUs (as many weights), gains for the norms. The heads
share one set of 12 rotary pairs, three to each: head 0 turns fastest. So the array sees them as one head of K and V
with 24 channels, and four queries that are zero outside their own 6: a LLaMA with one KV head, whose zeros stay zero.
Ref: Karpathy, microgpt, 2026; sizes as in gateGPT (github.com/fguzman82/gateGPT, README, "Model").
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import silu

from quant.microgpt.names import VOCABULARY
from quant.microgpt.sizes import EPSILON, HEADS, HIDDEN, INTERMEDIATE, THETA

__all__ = ["LINEARS", "initial", "logits", "ternary"]

LINEARS = {  # outputs and inputs
    "q": (HIDDEN, HIDDEN),
    "k": (HIDDEN, HIDDEN),
    "v": (HIDDEN, HIDDEN),
    "o": (HIDDEN, HIDDEN),
    "gate": (INTERMEDIATE, HIDDEN),
    "up": (INTERMEDIATE, HIDDEN),
    "down": (HIDDEN, INTERMEDIATE),
}
_TABLES = {"embedding": (VOCABULARY, HIDDEN), "head": (VOCABULARY, HIDDEN)}
_NORMS = ("input_norm", "post_norm", "last_norm")
_SPREAD = 0.2  # of weights before training


def initial(seed: int) -> dict[str, Tensor]:
    """Parameters to begin with, by name; float32, with gradients."""
    generator = torch.Generator().manual_seed(seed)
    shapes = {**LINEARS, **_TABLES}
    found = {name: _SPREAD * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    found |= {name: torch.ones(HIDDEN) for name in _NORMS}
    return {name: parameter.requires_grad_() for name, parameter in found.items()}


def ternary(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Trits of a weight (n, k) and a scale per row (n, 1), the mean magnitude as float16 keeps it.

    Ref: Ma et al., The Era of 1-bit LLMs (BitNet b1.58), arXiv 2402.17764, section 2, by row.
    """
    scale = weight.detach().abs().mean(1, keepdim=True).half().float().clamp_min(2.0**-14)
    return (weight / scale).round().clamp(-1, 1), scale


def _straight_through(weight: Tensor) -> Tensor:
    """The ternary weight, with the gradient of the weight itself."""
    trits, scale = ternary(weight)
    return weight + (trits * scale - weight).detach()


def logits(parameters: dict[str, Tensor], tokens: Tensor, is_ternary: bool = True) -> Tensor:
    """Logits (names, tokens, 27) of ids (names, tokens), linears ternary or as they are."""
    weights = {name: parameters[name] for name in LINEARS}
    if is_ternary:
        weights = {name: _straight_through(weight) for name, weight in weights.items()}
    batch, length = tokens.shape
    x = parameters["embedding"][tokens]  # (B, T, 24)
    h = _norm(x, parameters["input_norm"])
    q, k, v = ((h @ weights[name].T).view(batch, length, HEADS, -1).transpose(1, 2) for name in "qkv")  # (B, H, T, 6)
    q, k = _rotated(q), _rotated(k)
    scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
    past = torch.ones(length, length, dtype=torch.bool).tril()
    attention = scores.masked_fill(~past, -torch.inf).softmax(-1) @ v
    x = x + attention.transpose(1, 2).reshape(batch, length, -1) @ weights["o"].T
    h = _norm(x, parameters["post_norm"])
    x = x + (silu(h @ weights["gate"].T) * (h @ weights["up"].T)) @ weights["down"].T
    return _norm(x, parameters["last_norm"]) @ parameters["head"].T


def _norm(x: Tensor, gains: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + EPSILON).rsqrt() * gains


def _rotated(x: Tensor) -> Tensor:
    """Neighbouring pairs of (B, H, T, 6) turned by their positions; pair i of head h is pair 3 h + i of the 12."""
    heads, length = x.shape[1:3]
    angles = _angles(length).view(length, heads, -1).transpose(0, 1)  # (H, T, 3)
    cosine, sine = angles.cos(), angles.sin()
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cosine - odd * sine, even * sine + odd * cosine], -1).flatten(-2)


def _angles(length: int) -> Tensor:
    """Angles (length, 12) of every position and pair."""
    frequencies = THETA ** -(np.arange(0, HIDDEN, 2) / HIDDEN)
    return torch.from_numpy(np.arange(length)[:, None] * frequencies).float()
