"""Commands of README and docs: lines of code blocks and code between backquotes that call one of our programs."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["BLOCK", "PAGES", "PLACEHOLDER", "ROOT", "Documented", "commands_of", "documented", "words_of"]

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
PLACEHOLDER = re.compile(r"(^|[\s=])(\.\.\.|…|[A-Z]+\|[A-Z|]+|X)(\s|$)")
_MODULES = r"hw|quant|sim|energy|build|venv|http\.server|tests[.\w]*"
_PROGRAMS = rf"tritforge|make|pytest|pip|pipx|docker|curl|sha256sum|gunzip|python3? -m (?:{_MODULES})"
_STARTS = re.compile(rf"(?:\.venv/bin/)?({_PROGRAMS})(?=\s|$)(.*)")


class Documented(NamedTuple):
    """A command: the page that has it first, its program and what follows it."""

    page: str
    program: str
    rest: str

    @property
    def text(self) -> str:
        """The command without its comment, every space single."""
        return " ".join([self.program, *map(shlex.quote, words_of(self.rest))])


def commands_of(text: str) -> Iterator[tuple[str, str, str, bool]]:
    """``(program, what follows it, both as shown, whether in a block)`` of every command in the text of a page."""
    blocks = [body for _, body in BLOCK.findall(text)]
    prose = BLOCK.sub("", text)
    blocks.append("\n".join(re.findall(r"^    (.*)$", prose, re.MULTILINE)))
    lines = [(line.strip(), True) for body in blocks for line in re.sub(r"\\\n\s*", " ", body).splitlines()]
    lines += [(re.sub(r"\s+", " ", one), False) for one in re.findall(r"`([^`]+)`", prose)]
    for line, in_block in lines:
        for part in re.split(r"\s(?:&&|\||;)\s|^\$\s|\beval \"\$\(", line):
            if found := _STARTS.match(part.strip()):
                yield found[1], found[2].strip(), part.strip(), in_block


def words_of(rest: str) -> list[str]:
    """Words behind a program as a shell splits them, without comment and redirection."""
    return [
        word.rstrip(")") for word in shlex.split(re.sub(r'\)"(?=\s|$)', "", rest).partition(" > ")[0], comments=True)
    ]


def documented() -> list[Documented]:
    """Every command that a page says whole, each once, in the order of the pages.

    ``tritforge sim`` in a sentence is the name of a command and no call; in a block it is one.
    """
    found: dict[str, Documented] = {}
    for page in PAGES:
        if page.name == "CHANGELOG.md":  # which also says what commands were called
            continue
        text = page.read_text(encoding="utf-8")
        rows = [line for line in text.splitlines() if line.startswith("|") and page.name == "howto.md"]
        called = {shown for line in rows for _, _, shown, _ in commands_of(line)}  # which command reproduces what
        for program, rest, shown, in_block in commands_of(text):
            one = Documented(page.name, program, rest)
            is_script = program.partition(" -m ")[2].startswith("tests")
            is_named = not (in_block or is_script or shown in called) and len(words_of(rest)) < 2
            if (words_of(rest) or " -m " in program) and not is_named and not PLACEHOLDER.search(shown):
                found.setdefault(one.text, one)
    return list(found.values())
