"""``python -m hw.gates``: the same as ``python -m hw gates``."""

from collections.abc import Sequence

from hw.cli import CommandParser, run
from hw.gates.command import add_arguments


def main(arguments: Sequence[str]) -> None:
    """Parse and run."""
    parser = CommandParser(prog="python -m hw.gates", description=__doc__)
    add_arguments(parser)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    run(main)
