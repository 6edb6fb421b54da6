"""``tritforge budget``: the cycles of one token of a program, operation by operation, without running it."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.artifact import check_results_file
from hw.errors import InputError
from hw.program.image import load_image
from sim.token.memory import TokenMemory, add_memory_options

__all__ = ["add_budget"]

_RESULTS = Path("docs") / "results" / "program-budgets.json"


def add_budget(parser: ArgumentParser) -> None:
    """Options of ``budget``."""
    parser.add_argument("folder", type=Path, metavar="DIR", help="what `tritforge program` wrote")
    parser.add_argument(
        "--position", type=int, default=0, metavar="N", help="tokens in front of the one that is counted (default: 0)"
    )
    add_memory_options(parser)
    parser.add_argument(
        "--add", type=Path, nargs="?", const=_RESULTS, metavar="FILE",
        help=f"add the budget to a results file (without FILE: {_RESULTS})",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.set_defaults(run=_budget)


def _budget(options: Namespace) -> None:
    from sim.token.budget import budget_lines, budget_of  # loads numba
    from sim.token.cycles import TokenCycles
    from sim.token.program_budgets import ProgramBudget, add_program_budget, read_program_budgets

    image = load_image(options.folder)
    context = image.header.context
    if not 0 <= options.position < context:
        raise InputError(f"--position must be 0 to {context - 1}, as K and V have room for, not {options.position}")
    memory = TokenMemory.of(options)
    if options.add:
        check_results_file(options.add, read_program_budgets)  # refused before anything is counted
    cycles = TokenCycles(image, position=options.position, memory=memory.timing(image))
    budget = budget_of([cycles.step()])
    if options.add:
        row = ProgramBudget.of(options.folder, image, memory, options.position, budget)
        add_program_budget(options.add, row)
    if options.json:
        print(json.dumps(budget.as_json(), indent=1))
    else:
        print(*budget_lines(budget, memory.clock_hz), sep="\n")
