"""What stands in for a reader's models, texts and hours where the commands of README and docs are run."""

import re
import shlex
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import yaml

__all__ = ["Declared", "declared"]

_FILE = Path(__file__).with_suffix(".yaml")


class Declared(NamedTuple):
    """The sections of ``stand_ins.yaml``, and the keys of each that a command has used.

    ``*`` in a key of ``not_run`` is any text: a family of commands has one reason.
    """

    inputs: dict[str, str]
    brief: dict[str, str]
    instead: dict[str, str]
    not_run: dict[str, str]
    used: set[tuple[str, str]]

    def stand_in(self, text: str) -> str:
        """The command with small things in place of the reader's."""
        for pattern, word in self.inputs.items():
            text, count = re.subn(pattern, word, text)
            if count:
                self.used.add(("inputs", pattern))
        return text

    def reason(self, text: str) -> str | None:
        """Why the command is not run, or nothing."""
        text = self.stand_in(text)
        for key, reason in self.not_run.items():
            if re.fullmatch(".*".join(map(re.escape, key.split("*"))), text):
                self.used.add(("not_run", key))
                return reason
        return None

    def words(self, text: str) -> list[str]:
        """The words of the command that is run for the one that a page has."""
        text = self.stand_in(text)
        if text in self.instead:
            self.used.add(("instead", text))
            return shlex.split(self.instead[text])
        words = shlex.split(text)
        for pattern, options in self.brief.items():
            if re.search(pattern, text):
                self.used.add(("brief", pattern))
                words = _with(words, shlex.split(options))
        return words

    def unused(self) -> set[tuple[str, str]]:
        """Entries that no command has used."""
        sections = {name: getattr(self, name) for name in ("inputs", "brief", "instead", "not_run")}
        return {(name, key) for name, section in sections.items() for key in section} - self.used


def _with(words: list[str], options: list[str]) -> list[str]:
    """The words with options ``--name value`` and ``--flag``, each in place of what the words say of it."""
    named = [i for i, option in enumerate(options) if option.startswith("--")]
    for start, end in pairwise([*named, len(options)]):
        option, *value = options[start:end]
        if option in words:
            at = words.index(option) + 1
            words = [*words[:at], *value, *words[at + len(value) :]]
        elif words[0] == "make":
            spelled = f"{option[2:].upper().replace('-', '_')}="
            words = [*(word for word in words if not word.startswith(spelled)), spelled + "".join(value)]
        else:
            words = [*words, option, *value]
    return words


def declared() -> Declared:
    """The sections as the file has them."""
    return Declared(**yaml.safe_load(_FILE.read_text(encoding="utf-8")), used=set())
