"""``tritforge``: the commands of all four packages under one name, the same as make's targets."""

import os
from collections.abc import Sequence

from energy.__main__ import COMMANDS as ENERGY
from hw.__main__ import COMMANDS as HW
from hw.cli import Command, command_line, run, run_command
from quant.__main__ import COMMANDS as QUANT
from sim.__main__ import COMMANDS as SIM

__all__ = ["COMMANDS", "main"]

_ABOUT = "From a pretrained LLaMA to ternary weights, cycles, energy and Verilog of the same integers."

COMMANDS = {
    **{name: ENERGY[name] for name in ("sim", "whatif", "compare", "explore", "notebook", "claims")},
    "quant": QUANT["quantize"],
    **{name: HW[name] for name in ("verilog", "bitstream", "gates")},
    **{name: SIM[name] for name in ("demo", "microgpt")},
    **{name: ENERGY[name] for name in ("list", "table")},
    "run": SIM["run"],
    **{name: QUANT[name] for name in ("evaluate", "integer", "program", "kv", "vocabulary", "rewrite")},
    **{name: QUANT[name] for name in ("export", "check-export", "task", "swap", "results", "extras")},
    **{name: SIM[name] for name in ("budget", "workload", "replay", "mappings", "dram", "references", "bench")},
    "bench-study": ENERGY["bench-study"],
    "bench-quant": QUANT["bench"],
    "host": QUANT["host"],
    **{name: HW[name] for name in ("simulate", "boards", "resources", "vector", "memory")},
    **{name: HW[name] for name in ("machine", "disassemble", "wave", "diagram")},
    "array-options": HW["options"],
    "completion": Command(
        "print what makes a shell complete commands, options and names",
        "energy.commands.completion:add_completion",
        "bash",
    ),
}


def main() -> None:
    """The console script."""
    if "_ARGCOMPLETE" in os.environ:
        _complete()
    run(_main)


def _main(arguments: Sequence[str]) -> None:
    run_command("tritforge", _ABOUT, COMMANDS, arguments)


def _complete() -> None:
    """Answer the shell, which has set ``COMP_LINE``, and exit."""
    import argcomplete

    from energy.commands.listing import NAMES

    words = os.environ.get("COMP_LINE", "").split()
    parser = command_line("tritforge", _ABOUT, COMMANDS, words)
    for action in (action for command in parser.commands.values() for action in command.actions):
        if names := NAMES.get(action.dest):
            action.completer = argcomplete.ChoicesCompleter(names())  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser)


if __name__ == "__main__":
    main()
