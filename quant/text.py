"""Texts for calibration and evaluation: the standard library's topics by default, WikiText-2 raw by its format."""

import hashlib
import re
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

from hw.errors import InputError

__all__ = ["NamedText", "calibration_text", "evaluation_text", "last_word_passages", "read_text"]

_TITLE = re.compile(r"^ = [^=].* = $", re.MULTILINE)  # WikiText's article headings
_SENTENCE_END = re.compile(r"(?<=[a-z])[.!?](?=[\"')\]]*\s)")
_CHARACTERS_PER_WORD = 12  # more than any text has on average, so that a slice holds the words wanted


class NamedText(NamedTuple):
    """A text and the name that is printed beside every figure measured on it."""

    name: str
    text: str

    @property
    def sha256(self) -> str:
        """Hash of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def read_text(path: Path) -> NamedText:
    """A text file; WikiText raw files are joined as the data set's rows are: blank rows empty, rows by a blank line.

    Ref: the GPTQ repository's ``get_wikitext2``: ``"\\n\\n".join`` over the rows, each with its own line end.

    Raises:
        InputError: missing, not UTF-8, or empty.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")  # a byte-order mark is no part of the text
    except OSError as error:
        raise InputError(f"{path}: text cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: must be UTF-8 text, not binary data") from None
    if not text.strip():
        raise InputError(f"{path}: must hold text, not nothing")
    if path.suffix == ".raw" and _TITLE.search(text):
        rows = ["" if not line.strip() else line for line in text.splitlines(keepends=True)]
        return NamedText(path.name, "\n\n".join(rows))
    return NamedText(path.name, text)


def evaluation_text(path: Path | None) -> NamedText:
    """The given file, or every second topic of Python's documentation (of the interpreter that runs)."""
    return NamedText("pydoc topics, odd", _topics(1)) if path is None else read_text(path)


def calibration_text(path: Path | None) -> NamedText:
    """The given file, or the other half of the topics: nothing that ``evaluation_text`` holds."""
    return NamedText("pydoc topics, even", _topics(0)) if path is None else read_text(path)


def _topics(parity: int) -> str:
    return "\n\n".join(topics[name] for name in sorted(topics)[parity::2])


def last_word_passages(text: str, count: int, context_words: int, fewer: bool = False) -> list[tuple[str, str]]:
    """``count`` passages, spread evenly over ``text``: the words before a sentence's last one, and that word.

    ``fewer``: take as many as there are where there are not ``count``.

    Raises:
        InputError: a text with fewer such sentences, or with none.
    """
    usable = [
        end
        for end in (match.start() for match in _SENTENCE_END.finditer(text))
        if len(text[:end][-_CHARACTERS_PER_WORD * context_words :].split()) > context_words + 1
    ]
    count = min(count, max(1, len(usable))) if fewer else count
    if len(usable) < count:
        raise InputError(
            f"text for last words must hold {count} sentences after {context_words} words, not {len(usable)}"
        )
    found = []
    for end in (usable[number * len(usable) // count] for number in range(count)):
        words = text[max(0, end - _CHARACTERS_PER_WORD * context_words) : end].split()[-context_words - 1 :]
        found.append((" ".join(words[:-1]), words[-1]))
    return found
