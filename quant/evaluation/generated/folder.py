"""The folder of generated tasks: made once per text and seed, in ``build/tasks``."""

from collections.abc import Sequence
from pathlib import Path

from hw.artifact import file_name, sha256_json
from quant.evaluation.generated.names import OF_TEXT, PATTERNS
from quant.evaluation.generated.patterns import copy_words, cycle_words, plural_pairs
from quant.evaluation.generated.texts import last_words, next_sentence, pages
from quant.text import NamedText

__all__ = ["write_generated"]

_FOLDER = Path("build") / "tasks"
_ALGORITHM = 1  # raised when the same text and seed give other items than before

_OF_TEXT = dict(zip(OF_TEXT, (last_words, next_sentence, pages), strict=True))
_OF_SEED = dict(zip(PATTERNS, (copy_words, plural_pairs, cycle_words), strict=True))


def write_generated(names: Sequence[str], text: NamedText, seed: int = 0) -> Path:
    """Write the tasks of ``names`` and return their folder, which ``lm_eval --include_path`` takes as well.

    Raises:
        InputError: a text that a task cannot be made of.
    """
    key = sha256_json({"algorithm": _ALGORITHM, "text": text.sha256, "seed": seed})
    folder = _FOLDER / f"{file_name(Path(text.name).stem)}-{key[:12]}"
    for name in names:
        task = _OF_TEXT[name](text, seed) if name in _OF_TEXT else _OF_SEED[name](seed)
        task.write(folder)
    return folder
