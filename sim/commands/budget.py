"""``tritforge budget``: the cycles of one token of a program, operation by operation, without running it."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.errors import InputError
from hw.program.image import load_image
from sim.token.memory import check_memory, word_pattern

__all__ = ["add_budget"]


def add_budget(parser: ArgumentParser) -> None:
    """Options of ``budget``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="what `tritforge program` wrote")
    parser.add_argument(
        "--position", type=int, default=0, metavar="N", help="tokens in front of the one that is counted (default: 0)"
    )
    parser.add_argument(
        "--latency", type=int, default=8, metavar="N", help="edges from a request to memory's first word (default: 8)"
    )
    parser.add_argument(
        "--word-edges", type=int, default=1, metavar="N",
        help="edges per memory word, for a memory that is slower than the port (default: 1)",
    )  # fmt: skip
    parser.add_argument(
        "--mhz", type=float, default=62.5, metavar="F", help="clock that tokens per second are told for (default: 62.5)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.set_defaults(run=_budget)


def _budget(options: Namespace) -> None:
    from sim.token.budget import budget_lines, budget_of  # loads numba
    from sim.token.cycles import TokenCycles

    image = load_image(options.folder)
    context = image.header.context
    if not 0 <= options.position < context:
        raise InputError(f"--position must be 0 to {context - 1}, as K and V have room for, not {options.position}")
    check_memory(options.latency, options.mhz, options.word_edges)
    stalls = word_pattern(options.word_edges)
    budget = budget_of([TokenCycles(image, options.latency, stalls, options.position).step()])
    if options.json:
        print(json.dumps(budget.as_json(), indent=1))
    else:
        print(*budget_lines(budget, options.mhz * 1e6), sep="\n")
