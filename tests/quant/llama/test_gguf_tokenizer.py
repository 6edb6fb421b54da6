"""The tokenizer of a .gguf file: split as llama.cpp splits, under every architecture, its arrays held together."""

import re
from itertools import pairwise
from pathlib import Path

import gguf
import pytest

from hw.errors import InputError
from quant.gguf_file import read_gguf, stored_value
from quant.llama.loading import load_tokenizer
from quant.shapes import load_shape
from tests.quant.gguf_models import ARCHITECTURES

TEXT = "In 2024, it's  12345\n\n 77 don't;\n\n\n  42 (x=3.14)  \t\n1 a\n 2"

# GPT-2's split of ASCII text, of which llama.cpp has "'s|'t|...| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)".
GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?[A-Za-z]+| ?[0-9]+| ?[^\sA-Za-z0-9]+|\s+(?!\S)|\s+"


def write(path: Path, architecture: str = "llama", **changed: object) -> Path:
    """Bytes as tokens, and one for each pair of characters in ``TEXT``, so that merges tell where text was split."""
    alphabet = sorted(spelled().values())
    pairs = sorted({a + b for a, b in pairwise(TEXT)})
    written = ["".join(spelled()[byte] for byte in pair.encode()) for pair in pairs]
    tokens = [*alphabet, *written]
    fields = {
        "model": "gpt2",
        "pre": "smollm",
        "tokens": tokens,
        "token_type": [1] * len(tokens),
        "merges": [f"{pair[0]} {pair[1]}" for pair in written],
        "bos_token_id": 0,
    }
    writer = gguf.GGUFWriter(path, architecture)
    add = {str: "add_string", int: "add_uint32", list: "add_array"}
    for name, value in (fields | changed).items():
        if value is not None:
            getattr(writer, add[type(value)])(f"tokenizer.ggml.{name}", value)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return path


def spelled() -> dict[int, str]:
    """GPT-2's characters of the 256 bytes."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (byte for byte in range(256) if byte not in plain)
    return {byte: chr(byte) for byte in plain} | {byte: chr(256 + place) for place, byte in enumerate(others)}


def boundaries(path: Path) -> set[int]:
    """Characters of ``TEXT`` before which a token starts."""
    shape = load_shape("stories260K").model_copy(update={"vocab_size": 5000})
    tokenizer = load_tokenizer(path, shape)
    found, position = set(), 0
    for token in tokenizer.encode(TEXT):
        found.add(position)
        position += len(tokenizer.decode([token]))
    assert position == len(TEXT)
    return found


def split(text: str, digits: bool) -> set[int]:
    """Where llama.cpp's rule splits: digits apart first, then GPT-2's pieces of what is between them."""
    parts = re.findall(r"[0-9]|[^0-9]+", text) if digits else [text]
    found, position = set(), 0
    for part in parts:
        for piece in re.findall(GPT2, part):
            found.add(position)
            position += len(piece)
    return found


@pytest.mark.parametrize(("pre", "digits"), [("smollm", True), ("refact", True), ("gpt-2", False), ("olmo", False)])
def test_text_is_split_where_the_named_rule_splits_it(pre, digits, tmp_path):
    starts = boundaries(write(tmp_path / "t.gguf", pre=pre))
    assert split(TEXT, digits) <= starts
    assert split(TEXT, True) != split(TEXT, False)
    # Within a piece, pairs merge: some character is not the first of a token.
    assert len(starts) < len(TEXT)
    if not digits:
        assert not split(TEXT, True) <= starts


@pytest.mark.parametrize("architecture", [*ARCHITECTURES, "mistral", "bitnet-b1.58"])
def test_every_architecture_has_a_tokenizer(architecture, tmp_path):
    assert boundaries(write(tmp_path / "t.gguf", architecture)) == boundaries(write(tmp_path / "llama.gguf"))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tokens": None}, r"'tokenizer\.ggml\.tokens' must be an array of strings, not absent"),
        ({"token_type": [1, 1]}, r"'tokenizer\.ggml\.token_type' must be an array of \d+ values, one for each token"),
        ({"scores": [1]}, r"'tokenizer\.ggml\.scores' must be an array of \d+ values, .*not 1 values"),
        ({"eos_token_id": 9999}, r"'tokenizer\.ggml\.eos_token_id' must be one of the \d+ tokens, not 9999"),
        ({"pre": "own-rule"}, r"'tokenizer\.ggml\.pre' must be one of .*smollm.*, not 'own-rule'"),
        ({"model": "words"}, r"has no usable tokenizer"),
    ],
)
def test_arrays_and_ids_that_do_not_fit_are_named(changed, message, tmp_path):
    path = write(tmp_path / "t.gguf", **changed)
    with pytest.raises(InputError, match=message) as caught:
        boundaries(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_stored_values_are_those_of_the_gguf_packages_reader(tmp_path):
    path = write(tmp_path / "t.gguf")
    file, reader = read_gguf(path), gguf.GGUFReader(path)
    for name in file.fields:
        value, kind, part = stored_value(file, name)
        field = reader.get_field(name)
        assert value == field.contents()
        assert [kind, *([] if part is None else [part])] == [int(one) for one in dict.fromkeys(field.types)]
