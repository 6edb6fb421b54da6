"""Parts of a GGUF export by hand: types, rounding errors, llama2.c vocabularies, splitting rules, prompts."""

import struct
from types import SimpleNamespace
from unittest.mock import MagicMock

import gguf
import numpy as np
import pytest

from hw.errors import InputError
from quant.exports import gguf_tokenizer
from quant.exports.agreement import prompt_starts
from quant.exports.gguf_model import _error, _rounded

F16, Q8_0 = gguf.GGMLQuantizationType.F16, gguf.GGMLQuantizationType.Q8_0


def test_a_weight_too_large_for_float16_is_refused_where_it_would_be_float16():
    wide = np.full((2, 32), 1.0, np.float32)
    assert _rounded(wide, F16)[1] == F16
    assert _rounded(wide[:, :31], Q8_0)[1] == F16
    wide[1, 3] = 1e6
    assert _rounded(wide, Q8_0)[1] == Q8_0
    for array, kind in ((wide, F16), (wide[:, :31], Q8_0)):
        with pytest.raises(InputError, match=r"weights must be below 65504 for F16, not 1e\+06; export as hf"):
            _rounded(array, kind)


def test_the_error_is_the_largest_over_the_largest_magnitude():
    """1 + 2**-12 is 1 in float16, 4 is 4."""
    array = np.array([[1 + 2**-12, 4.0]], np.float32)
    assert _error(array, *_rounded(array, F16)) == 2**-12 / 4
    assert _error(np.zeros((1, 2), np.float32), np.zeros((1, 2), np.float16), F16) == 0


def test_bytes_of_a_llama2c_vocabulary_are_the_tokens_from_the_fourth_on(tmp_path, monkeypatch):
    pieces = [b"<unk>", b"<s>", b"</s>", *(f"<0x{n:02X}>".encode() for n in range(256)), b" a"]
    data = b"".join(struct.pack("<fi", -number, len(piece)) + piece for number, piece in enumerate(pieces))
    (tmp_path / "tok260.bin").write_bytes(struct.pack("<i", 8) + data)
    kept = []
    monkeypatch.setattr(gguf_tokenizer, "_add", lambda *given: kept.extend(given))
    gguf_tokenizer._from_llama2c(MagicMock(), tmp_path / "tok260.bin", SimpleNamespace(vocab_size=260))
    texts, types = kept[3], kept[4]
    assert texts[:3] == ["<unk>", "<s>", "</s>"]
    assert texts[3:259] == [f"<0x{n:02X}>" for n in range(256)]
    assert texts[259] == "\u2581a"
    assert types[2:5] == [gguf.TokenType.CONTROL, gguf.TokenType.BYTE, gguf.TokenType.BYTE]
    assert types[259] == gguf.TokenType.NORMAL


def test_byte_levels_split_by_their_regex_unless_they_say_otherwise():
    step = {"type": "ByteLevel"}
    assert gguf_tokenizer._step(step) == gguf_tokenizer._step(step | {"use_regex": True}) == "ByteLevel regex"
    assert gguf_tokenizer._step(step | {"use_regex": False}) == "ByteLevel"


def test_prompts_are_spread_over_the_text_and_end_within_it():
    starts = prompt_starts(1016)
    assert len(starts) == 20
    assert starts[:3] == [0, 50, 100]
    assert prompt_starts(216)[-1] == 190
