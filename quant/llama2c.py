"""llama2.c files: header, weights and tokenizer of karpathy/llama2.c's ``.bin`` checkpoints, with numpy only.

Layout (little-endian): seven int32 (dim, hidden, layers, heads, kv_heads, vocab, seq_len; a negative vocab means a
separate classifier), then float32 arrays: token embedding, attention norms, wq, wk, wv, wo, ffn norms, w1, w2, w3,
final norm, two RoPE tables (unused), and the classifier if separate. Rotary pairs are neighbours (2i, 2i + 1).
"""

import math
import re
import struct
from heapq import heappop, heappush
from pathlib import Path

import numpy as np

from hw.document import validate_document
from hw.errors import InputError
from quant.shapes import ModelShape

__all__ = ["Llama2cTokenizer", "read_header", "read_weights"]

_HEADER = struct.Struct("<7i")
_VERSIONED = b"24ka"  # "ak42" as a little-endian number: the later formats, whose version follows
_UNKNOWN, _BOS = 0, 1
_BYTE_TOKENS = 3  # ids of raw bytes start after <unk>, <s>, </s>
_BYTE_PIECE = re.compile(rb"<0x([0-9A-F]{2})>")
_GONE = -1  # a token that its left neighbour has taken in
_WORD = re.compile(r" *[^ ]+| +$")  # with the spaces before it
_CROSSING = re.compile(rb"[^ ] ")


def read_header(path: Path) -> ModelShape:
    """Dimensions of a ``.bin`` checkpoint.

    Raises:
        InputError: missing file, impossible dimensions, or a length that the dimensions contradict.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with open(path, "rb") as stream:
        head = stream.read(_HEADER.size)
    if len(head) < _HEADER.size:
        raise InputError(f"{path}: must be a llama2.c checkpoint, not {len(head)} bytes")
    if head[:4] == _VERSIONED:
        version = struct.unpack_from("<i", head, 4)[0]
        raise InputError(
            f"{path}: must be a llama2.c checkpoint of the first format (export.py --version 0), not of version "
            f"{version}"
        )
    dim, hidden, layers, heads, kv_heads, vocab, seq_len = _HEADER.unpack(head)
    if heads > 0 and (dim % heads or dim // heads % 2):
        raise InputError(
            f"{path}: llama2.c header must have heads of whole, even width, not dim {dim} with {heads} heads"
        )
    fields = {
        "name": path.stem,
        "source": "header of the given llama2.c file",
        "hidden_size": dim,
        "intermediate_size": hidden,
        "layers": layers,
        "heads": heads,
        "kv_heads": kv_heads,
        "head_dim": dim // heads if heads > 0 else 0,
        "vocab_size": abs(vocab),
        "max_positions": seq_len,
        "tie_embeddings": vocab > 0,
    }
    shape = validate_document(fields, ModelShape, f"{path} (llama2.c header)")
    expected = _HEADER.size + 4 * (shape.total_parameters + shape.max_positions * shape.head_dim)
    if path.stat().st_size != expected:
        raise InputError(
            f"{path}: must be {expected} bytes by its header, not {path.stat().st_size}: truncated or other"
        )
    return shape


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """Every tensor as float32 under its Hugging Face name, rotary rows reordered to halves (i, i + head_dim / 2).

    Raises:
        InputError: as ``read_header``.
    """
    shape = read_header(path)
    values = np.fromfile(path, dtype="<f4", offset=_HEADER.size)
    position = 0

    def take(*size: int) -> np.ndarray:
        nonlocal position
        count = int(np.prod(size))
        position += count
        return values[position - count : position].reshape(size)

    layers, dim = shape.layers, shape.hidden_size
    tensors = {"model.embed_tokens.weight": take(shape.vocab_size, dim)}
    stacked = {"input_layernorm": take(layers, dim)}
    for kind in ("q_proj", "k_proj", "v_proj", "o_proj"):
        stacked[f"self_attn.{kind}"] = take(layers, *shape.linear(kind))
    stacked["post_attention_layernorm"] = take(layers, dim)
    for kind in ("gate_proj", "down_proj", "up_proj"):
        stacked[f"mlp.{kind}"] = take(layers, *shape.linear(kind))
    tensors["model.norm.weight"] = take(dim)
    take(shape.max_positions * shape.head_dim)
    if not shape.tie_embeddings:
        tensors["lm_head.weight"] = take(shape.vocab_size, dim)
    for name, heads in (("self_attn.q_proj", shape.heads), ("self_attn.k_proj", shape.kv_heads)):
        pairs = stacked[name].reshape(layers, heads, shape.head_dim // 2, 2, dim)
        stacked[name] = pairs.swapaxes(2, 3).reshape(layers, -1, dim)
    for name, array in stacked.items():
        for layer in range(layers):
            tensors[f"model.layers.{layer}.{name}.weight"] = np.ascontiguousarray(array[layer])
    return tensors


class Llama2cTokenizer:
    """Byte-pair tokenizer of a ``tokN.bin`` file: merges the pair whose union scores best, first one on a tie."""

    def __init__(self, path: Path, vocab_size: int) -> None:
        """Read ``vocab_size`` entries (score, length, bytes).

        Raises:
            InputError: missing or truncated file, or one with more entries.
        """
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise InputError(
                f"{path}: tokenizer of the llama2.c checkpoint cannot be read ({error.strerror})"
            ) from None
        self.pieces: list[bytes] = []
        self.scores: list[float] = []
        position = 4
        for number in range(vocab_size):
            if position + 8 > len(data):
                raise InputError(f"{path}: must hold {vocab_size} tokens, not {number}: truncated or of another model")
            score, length = struct.unpack_from("<fi", data, position)
            if not 0 <= length <= len(data) - position - 8 or not math.isfinite(score):
                raise InputError(
                    f"{path}: token {number} must have a finite score and bytes that the file holds, not score {score} "
                    f"and {length} bytes: damaged or of another model"
                )
            self.pieces.append(data[position + 8 : position + 8 + length])
            self.scores.append(score)
            position += 8 + length
        if position < len(data):
            raise InputError(
                f"{path}: must hold {vocab_size} tokens, not {len(data) - position} bytes more: of a model with a "
                "larger vocabulary"
            )
        self.ids = {piece: number for number, piece in enumerate(self.pieces)}
        self._splits = not any(_CROSSING.search(piece) for piece in self.pieces)
        self._merged: dict[str, list[int]] = {}  # parts met before

    def encode(self, text: str) -> list[int]:
        """Token ids of ``text`` after ``<s>``, with the leading space that SentencePiece puts."""
        tokens = [_BOS]
        for part in self._parts(f" {text}" if text else ""):
            if part not in self._merged:
                self._merged[part] = self._merge(part)
            tokens += self._merged[part]
        return tokens

    def decode(self, tokens: list[int]) -> str:
        """The text of tokens in the middle of a text, the byte tokens among them joined to characters."""
        return b"".join(self._bytes(token) for token in tokens).decode("utf-8", errors="replace")

    def _bytes(self, token: int) -> bytes:
        """Of a piece, or of a byte token (``<0x0A>``); nothing of <unk>, <s> and </s>."""
        byte = _BYTE_PIECE.fullmatch(self.pieces[token])
        if byte:
            return bytes([int(byte[1], 16)])
        return self.pieces[token] if token >= _BYTE_TOKENS else b""

    def _unknown(self, piece: bytes) -> list[int]:
        """A character that is no piece: its bytes, or <unk> where the vocabulary lacks one of them."""
        found = [self.ids.get(b"<0x%02X>" % byte) for byte in piece]
        return [_UNKNOWN] if None in found else found

    def _parts(self, text: str) -> list[str]:
        """Where no piece goes on with a space after another character, words cannot merge with what precedes them."""
        return _WORD.findall(text) if self._splits else [text]

    def _merge(self, text: str) -> list[int]:
        """Merge over a whole string: the neighbours whose union scores best, the leftmost on a tie, until none is left.

        The candidates wait in a heap; one whose tokens have changed since is passed over.
        """
        tokens: list[int] = []
        for character in text:
            piece = character.encode()
            tokens += [self.ids[piece]] if piece in self.ids else self._unknown(piece)
        following = [*range(1, len(tokens)), -1]
        before = list(range(-1, len(tokens) - 1))
        waiting: list[tuple[float, int, int, int, int]] = []  # (-score, position, union, its two tokens)

        def offer(at: int) -> None:
            if at >= 0 and (after := following[at]) >= 0:
                left, right = tokens[at], tokens[after]
                union = self.ids.get(self.pieces[left] + self.pieces[right])
                if union is not None:
                    heappush(waiting, (-self.scores[union], at, union, left, right))

        for at in range(len(tokens) - 1):
            offer(at)
        while waiting:
            _, at, union, left, right = heappop(waiting)
            after = following[at]
            if tokens[at] != left or after < 0 or tokens[after] != right:
                continue
            tokens[at], tokens[after] = union, _GONE
            following[at] = following[after]
            if following[at] >= 0:
                before[following[at]] = at
            offer(before[at])
            offer(at)
        return [token for token in tokens if token != _GONE]
