"""First names to train on, and their letters as token ids: 0 begins and ends a name, 1 to 26 are a to z."""

from collections.abc import Iterable, Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from hw.errors import InputError

__all__ = ["END", "LETTERS", "NAMES_PACKAGE", "VOCABULARY", "decoded", "encoded", "name_rows", "read_names"]

LETTERS = "abcdefghijklmnopqrstuvwxyz"
END, VOCABULARY = 0, 1 + len(LETTERS)
NAMES_PACKAGE = "names"  # 0.3.0, MIT; its lists are the first names of the US census of 1990, public domain
_LISTS = ("dist.female.first", "dist.male.first")
_FEWEST = 10  # of which one is kept to measure on


def read_names(path: Path | None, context: int) -> tuple[str, ...]:
    """Different names in lower case, sorted: of a file with one per line, or of the census's lists.

    Raises:
        InputError: a file that is missing or holds too few names, a name with other letters than a to z, or one that a
            context of so many tokens has no room for.
    """
    lines = _census() if path is None else _lines(path)
    where = f"package {NAMES_PACKAGE}" if path is None else str(path)
    found = set[str]()
    for number, line in enumerate(lines, start=1):
        name = line.strip().lower()
        if not name:
            continue
        if strange := sorted(set(name) - set(LETTERS)):
            raise InputError(f"{where}, line {number}: a name must be of the letters a to z, not {strange[0]!r}")
        if len(name) >= context:
            raise InputError(
                f"{where}, line {number}: a name must have at most {context - 1} letters for a context of {context} "
                f"tokens, not {len(name)} ({name!r})"
            )
        found.add(name)
    if len(found) < _FEWEST:
        raise InputError(f"{where}: must hold at least {_FEWEST} different names, one per line, not {len(found)}")
    return tuple(sorted(found))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise InputError(f"{path}: must be a file of names, one per line ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: must be a UTF-8 text of names, one per line") from None


def _census() -> Iterable[str]:
    """First words of the package's lines, which go on with frequencies; the package itself is not run."""
    if find_spec(NAMES_PACKAGE) is None:
        raise InputError(f"the names are in the Python package {NAMES_PACKAGE}: pip install names==0.3.0, or --names")
    for name in _LISTS:
        yield from (line.split()[0] for line in (files(NAMES_PACKAGE) / name).read_text("utf-8").splitlines())


def encoded(text: str) -> list[int]:
    """Ids of letters; a full stop stands for the end (and the beginning) of a name."""
    return [END if letter == "." else 1 + LETTERS.index(letter) for letter in text]


def decoded(tokens: Sequence[int]) -> str:
    """Letters of ids, the reverse of ``encoded``."""
    return "".join("." if token == END else LETTERS[token - 1] for token in tokens)


def name_rows(names: Sequence[str], context: int) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets, int64 ``(names, context)``: END and the letters; the letters and END, -100 behind it."""
    inputs = np.zeros((len(names), context), np.int64)
    targets = np.full((len(names), context), -100, np.int64)
    for row, name in enumerate(names):
        tokens = encoded(f".{name}.")
        inputs[row, : len(tokens) - 1], targets[row, : len(tokens) - 1] = tokens[:-1], tokens[1:]
    return inputs, targets
