"""The one exception that means "the input is wrong", raised by every package and shown without a traceback."""

from collections.abc import Iterable

__all__ = ["InputError", "did_you_mean"]


class InputError(ValueError):
    """A file, field or option that the user can correct.

    The message is one line: what it is, the value that came, and the way out. Command lines print it after
    ``error:`` and exit with status 2; anything else that escapes is a defect of this project and keeps its
    traceback. Line breaks that a file's name or value brings along become spaces.
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.splitlines()))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message about an unknown ``word``: the known one that is closest, or nothing where none is close."""
    from difflib import get_close_matches  # only a wrong word pays for it

    cased = {name.lower(): name for name in known}
    close = get_close_matches(word.lower(), cased, n=1)
    return f"; did you mean {cased[close[0]]!r}?" if close else ""
