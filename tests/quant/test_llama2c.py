"""llama2.c checkpoints: the loaded model equals a naive forward pass over the file's own layout."""

import struct

import numpy as np
import pytest
import torch

from hw.errors import InputError
from quant.llama.loading import load_model
from quant.llama2c import Llama2cTokenizer, read_header
from quant.safetensors_files import refuse_pickle
from quant.source import resolve

DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCAB, CONTEXT = 16, 24, 2, 4, 2, 11, 8
HEAD = DIM // HEADS


@pytest.fixture
def checkpoint(tmp_path):
    """A random file with its tokenizer, and its arrays by llama2.c's names."""
    rng = np.random.default_rng(0)
    kv = KV_HEADS * HEAD
    shapes = {
        "embedding": (VOCAB, DIM),
        "attention_norm": (LAYERS, DIM),
        "wq": (LAYERS, DIM, DIM),
        "wk": (LAYERS, kv, DIM),
        "wv": (LAYERS, kv, DIM),
        "wo": (LAYERS, DIM, DIM),
        "ffn_norm": (LAYERS, DIM),
        "w1": (LAYERS, HIDDEN, DIM),
        "w2": (LAYERS, DIM, HIDDEN),
        "w3": (LAYERS, HIDDEN, DIM),
        "norm": (DIM,),
        "rope": (2 * CONTEXT * HEAD // 2,),
    }
    arrays = {name: rng.normal(0, 0.5, shape).astype("<f4") for name, shape in shapes.items()}
    path = tmp_path / "random.bin"
    header = struct.pack("<7i", DIM, HIDDEN, LAYERS, HEADS, KV_HEADS, VOCAB, CONTEXT)
    path.write_bytes(header + b"".join(array.tobytes() for array in arrays.values()))
    pieces = [b"<unk>", b"<s>", b"</s>", b" ", b"a", b"b", b"ab", b" a", b" ab", b"c", b"\n"]
    scores = [0, 0, 0, -9, -9, -9, -1, -2, -3, -9, -9]
    entries = b"".join(struct.pack("<fi", s, len(p)) + p for p, s in zip(pieces, scores, strict=True))
    (tmp_path / f"tok{VOCAB}.bin").write_bytes(struct.pack("<i", 5) + entries)
    return path, arrays


def naive_logits(a: dict[str, np.ndarray], tokens: list[int]) -> np.ndarray:
    """One token after another, as run.c does it: neighbours rotate, keys and values are cached."""

    def norm(x, gain):
        return x / np.sqrt((x * x).mean() + 1e-5) * gain

    def rotate(v, position):
        out = v.copy()
        for i in range(0, len(v), 2):
            angle = position * 10000.0 ** -((i % HEAD) / HEAD)
            c, s = np.cos(angle), np.sin(angle)
            out[i], out[i + 1] = v[i] * c - v[i + 1] * s, v[i] * s + v[i + 1] * c
        return out

    keys = [[] for _ in range(LAYERS)]
    values = [[] for _ in range(LAYERS)]
    for position, token in enumerate(tokens):
        x = a["embedding"][token].astype(np.float64)
        for layer in range(LAYERS):
            h = norm(x, a["attention_norm"][layer])
            q = rotate(a["wq"][layer] @ h, position)
            keys[layer].append(rotate(a["wk"][layer] @ h, position))
            values[layer].append(a["wv"][layer] @ h)
            heads = []
            for head in range(HEADS):
                shared = slice(head // (HEADS // KV_HEADS) * HEAD, (head // (HEADS // KV_HEADS) + 1) * HEAD)
                mine = q[head * HEAD : (head + 1) * HEAD]
                scores = np.array([mine @ k[shared] for k in keys[layer]]) / np.sqrt(HEAD)
                weights = np.exp(scores - scores.max())
                weights /= weights.sum()
                heads.append(sum(w * v[shared] for w, v in zip(weights, values[layer], strict=True)))
            x = x + a["wo"][layer] @ np.concatenate(heads)
            h = norm(x, a["ffn_norm"][layer])
            gate = a["w1"][layer] @ h
            x = x + a["w2"][layer] @ (gate / (1 + np.exp(-gate)) * (a["w3"][layer] @ h))
    return a["embedding"] @ norm(x, a["norm"])


def test_loaded_model_equals_the_naive_forward_pass(checkpoint):
    path, arrays = checkpoint
    tokens = [1, 4, 9, 6, 10]
    logits = load_model(resolve(str(path))).model(torch.tensor([tokens])).logits[0, -1]
    assert np.allclose(logits.numpy(), naive_logits(arrays, tokens), atol=1e-4)


def test_tokenizer_merges_best_score_first(checkpoint):
    tokenizer = Llama2cTokenizer(checkpoint[0].parent / f"tok{VOCAB}.bin", VOCAB)
    assert tokenizer.encode("ab") == [1, 8]  # " ab": a+b first (-1), then the space (-3)
    assert tokenizer.encode("ac") == [1, 7, 9]
    assert tokenizer.encode("") == [1]


def test_truncated_files_are_refused(checkpoint, tmp_path):
    path, _ = checkpoint
    with pytest.raises(InputError, match="truncated or of another model"):
        Llama2cTokenizer(path.parent / f"tok{VOCAB}.bin", VOCAB + 1)
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(InputError, match="bytes by its header"):
        read_header(path)


def test_a_vocabulary_with_more_entries_is_of_another_model(checkpoint):
    vocabulary = checkpoint[0].parent / f"tok{VOCAB}.bin"
    vocabulary.write_bytes(vocabulary.read_bytes() + struct.pack("<fi", 0.0, 1) + b"d")
    with pytest.raises(InputError, match=rf"tok{VOCAB}\.bin: must hold {VOCAB} tokens, not 9 bytes more"):
        load_model(resolve(str(checkpoint[0])))


@pytest.mark.parametrize("version", [1, 2])
def test_later_formats_are_called_by_their_version(checkpoint, version):
    path = checkpoint[0]
    path.write_bytes(struct.pack("<Ii", 0x616B3432, version) + path.read_bytes())
    with pytest.raises(InputError, match=rf"first format \(export\.py --version 0\), not of version {version}"):
        resolve(str(path))


@pytest.mark.parametrize(("dim", "heads"), [(DIM, DIM), (DIM + 1, HEADS)])
def test_heads_whose_values_are_no_pairs_are_refused(checkpoint, dim, heads):
    path = checkpoint[0]
    _, *rest = struct.unpack("<7i", path.read_bytes()[:28])
    path.write_bytes(struct.pack("<7i", dim, rest[0], rest[1], heads, heads, *rest[4:]) + path.read_bytes()[28:])
    with pytest.raises(InputError, match=rf"heads of whole, even width, not dim {dim} with {heads} heads"):
        resolve(str(path))


def test_real_stories_model_predicts_stories(stories):
    loaded = load_model(resolve(str(stories / "stories260K.bin")))
    tokens = loaded.tokenizer.encode((stories / "tinystories_sample_3k.txt").read_text())
    batch = torch.tensor(tokens[: len(tokens) // 256 * 256]).view(-1, 256)
    assert loaded.model(batch, labels=batch).loss < 2.0  # uniform guessing: 6.2


@pytest.mark.parametrize("length", [9, 16, -1])
def test_a_token_longer_than_the_file_is_refused(length, tmp_path):
    path = tmp_path / "tok1.bin"
    path.write_bytes(struct.pack("<ifi", 20, 0.5, length) + b"12345678")
    with pytest.raises(InputError, match="token 0 must have a finite score and bytes that the file holds"):
        Llama2cTokenizer(path, 1)
    path.write_bytes(struct.pack("<ifi", 20, 0.5, 8) + b"12345678")
    assert Llama2cTokenizer(path, 1).pieces == [b"12345678"]


def test_a_character_that_a_vocabulary_without_bytes_lacks_is_unknown(tmp_path):
    pieces = [b"<unk>", b"<s>", b"</s>", b" ", b"a", b"b"]
    entries = b"".join(struct.pack("<fi", -float(number), len(piece)) + piece for number, piece in enumerate(pieces))
    (tmp_path / "tok6.bin").write_bytes(struct.pack("<i", 5) + entries)
    assert Llama2cTokenizer(tmp_path / "tok6.bin", 6).encode("a\nb") == [1, 3, 4, 0, 5]


def test_a_character_with_a_byte_that_a_short_vocabulary_lacks_is_unknown(tmp_path):
    pieces = [b"<unk>", b"<s>", b"</s>", *(b"<0x%02X>" % byte for byte in range(11)), b" ", b"a"]
    entries = b"".join(struct.pack("<fi", -float(number), len(piece)) + piece for number, piece in enumerate(pieces))
    (tmp_path / "tok16.bin").write_bytes(struct.pack("<i", 6) + entries)
    tokenizer = Llama2cTokenizer(tmp_path / "tok16.bin", 16)
    assert tokenizer.encode("a\nz\u00e9") == [1, 14, 15, 3 + 10, 0, 0]  # the newline's byte is there, z and é are not
    assert tokenizer.decode([15, 13, 0]) == "a\n"


def test_a_width_of_128_is_no_pickle(tmp_path):
    header = struct.pack("<7i", 128, 352, 5, 8, 4, 105, 256)
    for start, refused in ((header, False), (b"\x80\x02\x8a\x0a", True), (b"\x80\x04\x95\x00", True)):
        (tmp_path / "model.bin").write_bytes(start)
        if refused:
            with pytest.raises(InputError, match="not a pickle"):
                refuse_pickle(tmp_path / "model.bin")
        else:
            refuse_pickle(tmp_path / "model.bin")
