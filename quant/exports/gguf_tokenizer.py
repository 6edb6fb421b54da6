"""Tokenizers as GGUF's metadata: copied from a .gguf file, or told from tokenizer.json or a llama2.c vocabulary."""

import json
from pathlib import Path

import gguf

from hw.errors import InputError
from quant.gguf_file import read_gguf, stored_value
from quant.llama2c import Llama2cTokenizer
from quant.shapes import ModelShape

__all__ = ["write_tokenizer"]

_LLAMA3 = "|".join(
    (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)",
        r"[^\r\n\p{L}\p{N}]?\p{L}+",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
# llama.cpp splits text by rules of its own that files name; which one a tokenizer.json means is told by its steps:
# regular expressions of Split, and the names of the other steps.
_SPLITS = {
    ("ByteLevel regex",): "gpt-2",
    ("Digits", "ByteLevel regex"): "smollm",
    (_LLAMA3, "ByteLevel"): "llama-bpe",
    (_LLAMA3.replace("{1,3}", ""), "ByteLevel"): "qwen2",
}
_BYTES = 3  # llama2.c: ids of raw bytes start after <unk>, <s>, </s>
_UNMERGED = -1e6  # score of a piece that no merge makes


def write_tokenizer(writer: gguf.GGUFWriter, path: Path, shape: ModelShape) -> None:
    """Put the tokenizer of the weights at ``path``, special tokens and chat template included, into a GGUF header.

    Raises:
        InputError: a tokenizer that GGUF cannot express, or that none of llama.cpp's rules is known to fit.
    """
    if path.suffix == ".gguf":
        _copy(writer, path)
    elif path.is_dir() and (path / "tokenizer.json").is_file():
        _from_json(writer, path, shape)
    else:
        folder = path if path.is_dir() else path.parent
        _from_llama2c(writer, folder / f"tok{shape.vocab_size}.bin", shape)


def _copy(writer: gguf.GGUFWriter, path: Path) -> None:
    file = read_gguf(path)
    for name in file.fields:
        if name.startswith("tokenizer."):
            value, kind, part = stored_value(file, name)
            types = gguf.GGUFValueType(kind), None if part is None else gguf.GGUFValueType(part)
            writer.add_key_value(name, value, *types)


def _from_llama2c(writer: gguf.GGUFWriter, path: Path, shape: ModelShape) -> None:
    vocabulary = Llama2cTokenizer(path, shape.vocab_size)
    pieces = [piece.decode("utf-8", "replace").replace(" ", "\u2581") for piece in vocabulary.pieces]
    types = [gguf.TokenType.NORMAL] * len(pieces)
    for number in range(256):
        pieces[_BYTES + number] = f"<0x{number:02X}>"
        types[_BYTES + number] = gguf.TokenType.BYTE
    pieces[:_BYTES] = ["<unk>", "<s>", "</s>"]
    types[:_BYTES] = [gguf.TokenType.UNKNOWN, gguf.TokenType.CONTROL, gguf.TokenType.CONTROL]
    _add(writer, "llama", None, pieces, types)
    writer.add_token_scores(vocabulary.scores)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_add_space_prefix(True)


def _from_json(writer: gguf.GGUFWriter, folder: Path, shape: ModelShape) -> None:
    path = folder / "tokenizer.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    model = document["model"]
    if model.get("type") != "BPE":
        raise InputError(
            f"{path}: tokenizer must be BPE for GGUF, not {model.get('type')}; export as hf, which carries it as it is"
        )
    pieces = [f"[PAD{number}]" for number in range(shape.vocab_size)]
    types = [gguf.TokenType.UNUSED] * shape.vocab_size
    for piece, number in model["vocab"].items():
        pieces[number], types[number] = piece, gguf.TokenType.NORMAL
    for token in document.get("added_tokens", []):
        kind = gguf.TokenType.CONTROL if token["special"] else gguf.TokenType.USER_DEFINED
        pieces[token["id"]], types[token["id"]] = token["content"], kind
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in model["merges"]]
    if model.get("byte_fallback"):
        for number, piece in enumerate(pieces):
            if len(piece) == 6 and piece.startswith("<0x") and piece.endswith(">"):
                types[number] = gguf.TokenType.BYTE
        if model.get("unk_token") in pieces:
            types[pieces.index(model["unk_token"])] = gguf.TokenType.UNKNOWN
        _add(writer, "llama", None, pieces, types)
        ranks = {merge.replace(" ", ""): rank for rank, merge in reversed(list(enumerate(merges)))}
        writer.add_token_scores([-float(ranks[piece]) if piece in ranks else _UNMERGED for piece in pieces])
    else:
        _add(writer, "gpt2", _rule(document, path), pieces, types)
        writer.add_token_merges(merges)
    gguf.SpecialVocab(folder, load_merges=False).add_to_gguf(writer, quiet=True)


def _add(writer: gguf.GGUFWriter, model: str, rule: str | None, pieces: list[str], types: list[int]) -> None:
    writer.add_tokenizer_model(model)
    if rule:
        writer.add_tokenizer_pre(rule)
    writer.add_token_list(pieces)
    writer.add_token_types(types)


def _rule(document: dict, path: Path) -> str:
    """Name of llama.cpp's rule for splitting text before the merges."""
    outer = document.get("pre_tokenizer") or {}
    steps = outer.get("pretokenizers", [outer])
    found = tuple(map(_step, steps))
    if found not in _SPLITS:
        known = ", ".join(_SPLITS.values())
        raise InputError(
            f"{path}: pre_tokenizer must be one whose rule llama.cpp has and that is known here ({known}), not "
            f"{' + '.join(found)}; export as hf, or quantize the model's .gguf file, whose tokenizer is copied"
        )
    return _SPLITS[found]


def _step(step: dict) -> str:
    if step.get("type") == "Split":
        return step.get("pattern", {}).get("Regex", "Split")
    if step.get("type") == "ByteLevel":
        return "ByteLevel regex" if step.get("use_regex", True) else "ByteLevel"
    return str(step.get("type"))
