"""What the four command lines share: one error line with exit status 2, Ctrl-C with 130."""

import sys
from argparse import ArgumentParser
from collections.abc import Callable, Sequence
from typing import NoReturn

from hw.errors import InputError

__all__ = ["CommandParser", "run"]


class CommandParser(ArgumentParser):
    """An argument parser whose complaint is one line and names the help."""

    def error(self, message: str) -> NoReturn:
        """Print ``error: ...`` and exit with status 2."""
        print(f"error: {message} (options: {self.prog} --help)", file=sys.stderr)
        raise SystemExit(2)


def run(main: Callable[[Sequence[str]], None]) -> NoReturn:
    """Run ``main(arguments)``; exit 0, 2 on ``InputError`` or a failing file system, 130 on Ctrl-C."""
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except OSError as error:
        if error.filename is None and error.errno is None:
            raise
        print(f"error: {error.filename or 'write'}: {error.strerror or error}", file=sys.stderr)
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        print("interrupted; nothing half-written was kept", file=sys.stderr)
        raise SystemExit(130) from None
    raise SystemExit(0)
