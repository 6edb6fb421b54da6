"""A real LLaMA on the RTL: stories260K writes with every decoder linear executed by the Verilated core.

``python -m tests.hw.stories`` quantizes the 260 K-parameter model into two ternary planes (PTQTP), samples, prints the
tokens as they come, and then the core's cycles beside the simulator's prediction. Norms, attention, embedding and the
classifier run on the host in float32. The same host code with the golden model's integers is the reference.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from hw.config import ArrayConfig, load_array
from hw.golden import gemm, quantize_tokens
from hw.job import CoreJob
from hw.verilated import VerilatedCore, build_core
from quant.llama2c import Llama2cTokenizer, read_header, read_weights
from quant.ptqtp import Options, solve
from quant.shapes import Gemm
from sim.analytic import closed_form

MODEL = Path(__file__).parents[3] / "shared" / "data" / "models" / "stories260K.bin"
TOKENIZER = MODEL.with_name("tok512.bin")

_BOS = 1

Engine = Callable[[np.ndarray, np.ndarray], np.ndarray]  # int8 (m, k), int8 (n, k) -> int64 (m, n)


class TernaryLlama:
    """One token at a time, with a KV cache; ``engine`` computes the integers of every decoder linear."""

    def __init__(self, path: Path, engine: Engine):
        self.shape, self.engine = read_header(path), engine
        self.weights = read_weights(path)
        self.linears = {name: _planes(w) for name, w in self.weights.items() if name.endswith("_proj.weight")}
        self.cache: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in range(self.shape.layers)]

    def logits(self, token: int) -> np.ndarray:
        """Scores of the next token after ``token``."""
        table = self.weights["model.embed_tokens.weight"]
        x = table[token]
        for layer in range(self.shape.layers):
            x = x + self._attention(layer, self._norm(x, f"model.layers.{layer}.input_layernorm"))
            x = x + self._mlp(layer, self._norm(x, f"model.layers.{layer}.post_attention_layernorm"))
        return self.weights.get("lm_head.weight", table) @ self._norm(x, "model.norm")

    def write(self, count: int, seed: int = 0) -> Iterator[int]:
        """Tokens drawn from the model's distribution, the same ones for the same ``seed``."""
        token, rng = _BOS, np.random.default_rng(seed)
        for _ in range(count):
            logits = self.logits(token)
            token = int((logits + rng.gumbel(size=logits.size)).argmax())
            yield token

    def _linear(self, layer: int, name: str, x: np.ndarray) -> np.ndarray:
        q, s = quantize_tokens(x[None])
        parts = self.linears[f"model.layers.{layer}.{name}.weight"]
        return (s[0] * sum(a * self.engine(q[:, group], trits)[0] for trits, a, group in parts)).astype(np.float32)

    def _attention(self, layer: int, x: np.ndarray) -> np.ndarray:
        shape = self.shape
        position = len(self.cache[layer])
        query, key, value = (self._linear(layer, f"self_attn.{kind}_proj", x) for kind in "qkv")
        query = _rotated(query.reshape(shape.heads, -1), position, shape.rope_theta)
        key = _rotated(key.reshape(shape.kv_heads, -1), position, shape.rope_theta)
        self.cache[layer].append((key, value.reshape(shape.kv_heads, -1)))
        repeat = shape.heads // shape.kv_heads
        keys, values = (np.stack(part).repeat(repeat, axis=1) for part in zip(*self.cache[layer], strict=True))
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


class RtlEngine:
    """Runs products on the Verilated core, checks each against the golden model, and counts cycles."""

    def __init__(self, core: VerilatedCore):
        self.core, self.products, self.cycles, self.predicted = core, 0, 0, 0

    def __call__(self, q: np.ndarray, trits: np.ndarray) -> np.ndarray:
        product = self.core.run(CoreJob(q, trits[None]))
        assert (product.results == gemm(q, trits)).all(), "the RTL's integers differ from the golden model's"
        self.products += 1
        self.cycles += product.counters["cycles"]
        self.predicted += closed_form(Gemm(q.shape[0], *trits.shape), self.core.config).cycles
        return product.results


def story_array() -> ArrayConfig:
    """A small array whose tile loads in two beats."""
    return ArrayConfig(**load_array("16x8").model_dump() | {"name": "story", "weight_bus_bits": 128, "token_tile": 4})


def _planes(weight: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, slice]]:
    """Trits int8 ``(n, group)``, scales float32 ``(n,)`` and columns of every plane and group of a quantized linear."""
    solution = solve(torch.from_numpy(weight.copy()), None, Options())
    k = weight.shape[1]
    size = solution.group or k
    return [
        (trits[:, first : first + size].numpy(), scales[:, first // size].float().numpy(), slice(first, first + size))
        for trits, scales in zip(solution.trits, solution.plane_scales(), strict=True)
        for first in range(0, k, size)
    ]


def _text(piece: bytes) -> str:
    """What a token prints as; ``<0x0A>`` is a raw byte."""
    raw = bytes([int(piece[3:5], 16)]) if piece.startswith(b"<0x") else piece
    return raw.decode(errors="replace")


def _rotated(x: np.ndarray, position: int, theta: float) -> np.ndarray:
    """Rotary embedding of heads ``(h, d)``: pairs are (i, i + d / 2)."""
    half = x.shape[1] // 2
    angle = position * theta ** -(np.arange(half) / half)
    low, high = x[:, :half], x[:, half:]
    return np.concatenate([low * np.cos(angle) - high * np.sin(angle), high * np.cos(angle) + low * np.sin(angle)], 1)


def main() -> None:
    """Generate, and compare with the reference."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=60)
    count = parser.parse_args().tokens
    config = story_array()
    print(f"compiling {config.rows} lanes x {config.cols} columns (once, a minute or two)", flush=True)
    pieces = Llama2cTokenizer(TOKENIZER, read_header(MODEL).vocab_size).pieces
    with VerilatedCore(config, build_core(config)) as core:
        engine = RtlEngine(core)
        written = []
        for token in TernaryLlama(MODEL, engine).write(count):
            written.append(token)
            print(_text(pieces[token]), end="", flush=True)
    reference = list(TernaryLlama(MODEL, gemm).write(count))
    print(f"\n{count} tokens, {engine.products} products on the RTL, the reference's tokens: {written == reference}")
    print(f"cycles: RTL {engine.cycles}, simulator {engine.predicted}")


if __name__ == "__main__":
    main()
