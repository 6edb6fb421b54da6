"""Options of ``python -m sim demo``, kept apart so that other commands do not load the gateware."""

from argparse import Namespace, _SubParsersAction
from collections.abc import Callable
from pathlib import Path

__all__ = ["add_parser"]

_ARRAY = "16x8"  # a Verilator model of it compiles in a minute


def add_parser(commands: _SubParsersAction, action: Callable[[Namespace], None]) -> None:
    """Add ``demo`` to the simulator's command line; ``action`` runs it."""
    parser = commands.add_parser("demo", help="a LLaMA writes on the RTL: tokens as they come, cycles beside ours")
    parser.add_argument("--model", type=Path, required=True, help="a llama2.c .bin with its tokN.bin beside it")
    parser.add_argument("--array", default=_ARRAY, help="a known array, RxC, or a .yaml file")
    parser.add_argument("--tokens", type=int, default=60, help="tokens to write")
    parser.add_argument("--seed", type=int, default=0, help="of the draws")
    parser.add_argument("--json", action="store_true", help="print JSON at the end instead of text on the way")
    parser.set_defaults(action=action)
