"""``tritforge demo``: its options, kept apart from ``sim.demo`` so that help does not load the gateware."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

__all__ = ["add_demo"]

_ARRAY = "16x8"  # a Verilator model of it compiles in a minute


def add_demo(parser: ArgumentParser) -> None:
    """Options of ``demo``."""
    parser.add_argument(
        "--model", type=Path, required=True, metavar="FILE", help="a llama2.c .bin with its tokN.bin beside it"
    )
    parser.add_argument("--array", default=_ARRAY, help=f"a known array, RxC, or a .yaml file (default: {_ARRAY})")
    parser.add_argument("--tokens", type=int, default=60, metavar="N", help="tokens to write (default: 60)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the draws (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON at the end instead of text on the way")
    parser.set_defaults(run=_demo)


def _demo(options: Namespace) -> None:
    from sim.demo import demo  # loads Amaranth

    demo(options)
