"""The tokenizer of a .gguf file through transformers: its fields alone, checked, and with the split that it names.

transformers reads a whole model's header before it looks at the tokenizer, and knows part of llama.cpp's rules for
splitting text (``tokenizer.ggml.pre``); under any other name it takes GPT-2's without a word.

Ref: ggml-org/llama.cpp src/llama-vocab.cpp, ``llama_vocab::impl::load`` (names) and ``llm_tokenizer_bpe`` (rules).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import gguf
import transformers
from tokenizers import pre_tokenizers
from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

from hw.errors import InputError
from quant.gguf_file import GgufFile, Strings, read_gguf, stored_value

__all__ = ["check_tokenizer", "plain_tokenizer", "split_as_named"]

_TOKENS = "tokenizer.ggml.tokens"
_PARALLEL = ("tokenizer.ggml.token_type", "tokenizer.ggml.scores")  # arrays with an element for each token
_SPECIAL = ("bos", "eos", "unknown", "padding", "separator")

# Digits one by one, then GPT-2's split; and GPT-2's split alone.
_DIGITS = ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b")
_GPT2 = (
    *("gpt-2", "phi-2", "olmo", "mpt", "jais", "trillion", "granite-docling", "exaone4"),
    *("gigachat", "mellum", "a.x-4.0"),
)

# Architectures whose tokenizers transformers makes in a way of their own; others are like LLaMA's.
_OWN_WAY = ("qwen2", "qwen3", "gemma2", "gemma3", "phi3")


def check_tokenizer(file: GgufFile) -> None:
    """Compare the lengths of a header's arrays, and the ids of its special tokens with them.

    Raises:
        InputError: no tokens, an array of another length, an id beyond the tokens, a split that is not known here.
    """
    fields = file.fields
    tokens = fields.get(_TOKENS)
    if not isinstance(tokens, Strings) or tokens.count < 1:
        raise _wrong(file, _TOKENS, "an array of strings", "absent" if tokens is None else _brief(tokens))
    for name in _PARALLEL:
        found = fields.get(name)
        if found is not None and (not isinstance(found, list) or len(found) != tokens.count):
            length = f"{len(found)} values" if isinstance(found, list) else _brief(found)
            raise _wrong(file, name, f"an array of {tokens.count} values, one for each token", length)
    for kind in _SPECIAL:
        name = f"tokenizer.ggml.{kind}_token_id"
        found = fields.get(name)
        if found is not None and (type(found) is not int or not 0 <= found < tokens.count):
            raise _wrong(file, name, f"one of the {tokens.count} tokens", _brief(found))
    split = fields.get("tokenizer.ggml.pre")
    known = (*GGUF_PRE_TOKENIZER_SPLITS, *_DIGITS, *_GPT2, "default")
    if fields.get("tokenizer.ggml.model") == "gpt2" and split not in (None, *known):
        raise _wrong(file, "tokenizer.ggml.pre", f"one of {', '.join(sorted(known))}", _brief(split))


def split_as_named(file: GgufFile, tokenizer: transformers.PreTrainedTokenizerBase) -> None:
    """Give a tokenizer that transformers made of ``file`` the split that its header names, where that lacks it."""
    if file.fields.get("tokenizer.ggml.pre") in _DIGITS and file.fields.get("tokenizer.ggml.model") == "gpt2":
        steps = [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(steps)


@contextmanager
def plain_tokenizer(path: Path) -> Iterator[Path]:
    """A .gguf file with the tokenizer of ``path`` and nothing else, under an architecture that transformers knows."""
    file = read_gguf(path)
    check_tokenizer(file)
    kind = file.fields.get("general.architecture")
    taken = str(kind) if kind in _OWN_WAY else "llama"
    with TemporaryDirectory() as folder:
        target = Path(folder) / "tokenizer.gguf"
        writer = gguf.GGUFWriter(target, taken)
        for name in file.fields:
            if name.startswith("tokenizer."):
                value, type_, part = stored_value(file, name)
                types = gguf.GGUFValueType(type_), None if part is None else gguf.GGUFValueType(part)
                writer.add_key_value(name, value, *types)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.close()
        yield target


def _wrong(file: GgufFile, field: str, wanted: str, found: str) -> InputError:
    return InputError(f"{file.path}: field {field!r} must be {wanted}, not {found}")


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
