"""The one exception that means "the input is wrong", raised by every package and shown without a traceback."""

__all__ = ["InputError"]


class InputError(ValueError):
    """A file, field or option that the user can correct.

    The message is one line: what it is, the value that came, and the way out. Command lines print it after
    ``error:`` and exit with status 2; anything else that escapes is a defect of this project and keeps its
    traceback.
    """
