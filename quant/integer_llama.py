"""A LLaMA whose decoder linears are products of int8 activations and ternary planes, computed by whoever is asked.

Norms, attention, embedding and classifier run here in float32. The integers of every linear come from an ``Engine``:
the golden model, or hardware.
"""

from collections.abc import Callable, Iterator
from copy import copy
from pathlib import Path

import numpy as np

from hw.golden import quantize_tokens
from quant.llama2c import read_header, read_weights

__all__ = ["Engine", "IntegerLlama"]

Engine = Callable[[str, np.ndarray, np.ndarray], np.ndarray]  # kind of linear, int8 (m, k), int8 (n, k) -> int (m, n)

_BOS = 1


class IntegerLlama:
    """One token at a time, with a KV cache.

    ``path``: a llama2.c checkpoint; its decoder linears are quantized into two ternary planes with group scales (PTQTP,
    see ``quant.methods.ptqtp``), which needs torch. ``engine`` gives their integers.

    Raises:
        InputError: not a llama2.c checkpoint.
    """

    def __init__(self, path: Path, engine: Engine):
        self.shape, self.engine = read_header(path), engine
        self.weights = read_weights(path)
        self.linears = {name: _planes(w) for name, w in self.weights.items() if name.endswith("_proj.weight")}
        self._cache: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(self.shape.layers)]

    def anew(self, engine: Engine) -> "IntegerLlama":
        """The same weights with another engine and an empty cache."""
        other = copy(self)
        other.engine, other._cache = engine, [[] for _ in range(self.shape.layers)]
        return other

    def logits(self, token: int) -> np.ndarray:
        """Scores of the token after ``token``, float32 ``(vocabulary,)``; the cache grows by one."""
        table = self.weights["model.embed_tokens.weight"]
        x = table[token]
        for layer in range(self.shape.layers):
            x = x + self._attention(layer, self._norm(x, f"model.layers.{layer}.input_layernorm"))
            x = x + self._mlp(layer, self._norm(x, f"model.layers.{layer}.post_attention_layernorm"))
        return self.weights.get("lm_head.weight", table) @ self._norm(x, "model.norm")

    def write(self, count: int, seed: int = 0) -> Iterator[int]:
        """Tokens drawn from the model's distribution after ``<s>``, the same ones for the same ``seed``."""
        token, rng = _BOS, np.random.default_rng(seed)
        for _ in range(count):
            logits = self.logits(token)
            token = int((logits + rng.gumbel(size=logits.size)).argmax())
            yield token

    def _linear(self, layer: int, name: str, x: np.ndarray) -> np.ndarray:
        """``s * sum over planes and groups of a[n] * p[n]``, exact integers p from the engine."""
        q, s = quantize_tokens(x[None])
        parts = self.linears[f"model.layers.{layer}.{name}.weight"]
        kind = name.partition(".")[2]
        y = sum(a * self.engine(kind, q[:, group], trits)[0] for trits, a, group in parts)
        return (s[0] * y).astype(np.float32)

    def _attention(self, layer: int, x: np.ndarray) -> np.ndarray:
        shape = self.shape
        position = len(self._cache[layer])
        query, key, value = (self._linear(layer, f"self_attn.{kind}_proj", x) for kind in "qkv")
        query = _rotated(query.reshape(shape.heads, -1), position, shape.rope_theta)
        key = _rotated(key.reshape(shape.kv_heads, -1), position, shape.rope_theta)
        self._cache[layer].append((key, value.reshape(shape.kv_heads, -1)))
        repeat = shape.heads // shape.kv_heads
        keys, values = (np.stack(part).repeat(repeat, axis=1) for part in zip(*self._cache[layer], strict=True))
        scores = np.einsum("hd,thd->ht", query, keys) / np.sqrt(shape.head_dim)
        weights = np.exp(scores - scores.max(axis=1, keepdims=True))
        weights /= weights.sum(axis=1, keepdims=True)
        return self._linear(layer, "self_attn.o_proj", np.einsum("ht,thd->hd", weights, values).reshape(-1))

    def _mlp(self, layer: int, x: np.ndarray) -> np.ndarray:
        gate, up = self._linear(layer, "mlp.gate_proj", x), self._linear(layer, "mlp.up_proj", x)
        return self._linear(layer, "mlp.down_proj", gate / (1 + np.exp(-gate)) * up)

    def _norm(self, x: np.ndarray, name: str) -> np.ndarray:
        scale = np.sqrt((x**2).mean() + np.float32(self.shape.rms_norm_eps))
        return (x / scale * self.weights[f"{name}.weight"]).astype(np.float32)


def _planes(weight: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, slice]]:
    """Trits int8 ``(n, group)``, scales float32 ``(n,)`` and columns of every plane and group of a quantized linear."""
    import torch

    from quant.methods.ptqtp import Options, solve

    solution = solve(torch.from_numpy(weight.copy()), None, Options())
    k = weight.shape[1]
    size = solution.group or k
    return [
        (trits[:, first : first + size].numpy(), scales[:, first // size].float().numpy(), slice(first, first + size))
        for trits, scales in zip(solution.trits, solution.plane_scales(), strict=True)
        for first in range(0, k, size)
    ]


def _rotated(x: np.ndarray, position: int, theta: float) -> np.ndarray:
    """Rotary embedding of heads ``(h, d)``: pairs are (i, i + d / 2)."""
    half = x.shape[1] // 2
    angle = position * theta ** -(np.arange(half) / half)
    low, high = x[:, :half], x[:, half:]
    return np.concatenate([low * np.cos(angle) - high * np.sin(angle), high * np.cos(angle) + low * np.sin(angle)], 1)
