"""``tritforge completion``: what a shell evaluates to complete commands, options and names."""

import json
from argparse import ArgumentParser, Namespace

__all__ = ["add_completion"]

_SHELLS = ("bash", "zsh", "fish", "powershell")


def add_completion(parser: ArgumentParser) -> None:
    """Options of ``completion``."""
    parser.add_argument("shell", choices=_SHELLS, metavar="SHELL", help=", ".join(_SHELLS))
    parser.add_argument("--json", action="store_true", help="print the script as a JSON string")
    parser.epilog = f'{parser.epilog}\n  eval "$(tritforge completion bash)"    # in ~/.bashrc, likewise zsh'
    parser.set_defaults(run=_completion)


def _completion(options: Namespace) -> None:
    from argcomplete import shellcode

    script = shellcode(["tritforge"], shell=options.shell)
    print(json.dumps(script) if options.json else script)
