"""``tritforge demo``: its options, kept apart from ``sim.demo`` so that help does not load the gateware."""

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import get_args

from hw.errors import InputError
from hw.trit import Packing
from sim.token.memory import add_memory_options

__all__ = ["add_demo"]

_RESULTS = Path("docs") / "results" / "token-machine.json"
_ARRAY, _WHOLE_ARRAY = "16x8", "16x16"  # Verilator models of them compile in a minute, and in some


def add_demo(parser: ArgumentParser) -> None:
    """Options of ``demo``."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--model", type=Path, metavar="FILE",
        help="a llama2.c .bin with its tokN.bin beside it, whose linears run on the RTL",
    )  # fmt: skip
    what.add_argument(
        "--whole", metavar="MODEL", help="a model of which everything behind the token id runs on the RTL"
    )
    parser.add_argument(
        "--array", help=f"a known array, RxC, or a .yaml file (default: {_ARRAY}; {_WHOLE_ARRAY} with --whole)"
    )
    parser.add_argument("--tokens", type=int, default=60, metavar="N", help="tokens to write (default: 60)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the draws (default: 0)")
    parser.add_argument("--json", action="store_true", help="print JSON at the end instead of text on the way")
    whole = parser.add_argument_group("with --whole, which writes greedily")
    whole.add_argument("--prompt", default="Once upon a time", help="text to go on from (default: Once upon a time)")
    whole.add_argument("--method", default="digits", help="quantization method of the linears (default: digits)")
    whole.add_argument(
        "--options", action="append", default=[], metavar="NAME=VALUE", help="option of the method; repeat for more"
    )
    for name, default, what in (("key", 5, "K"), ("value", 5, "V"), ("table", 4, "the embedding table")):
        whole.add_argument(
            f"--{name}-digits", type=int, default=default, metavar="N",
            help=f"balanced-ternary digits of {what} (default: {default})",
        )  # fmt: skip
    whole.add_argument("--lanes", type=int, default=4, metavar="N", help="vector lanes (default: 4)")
    whole.add_argument(
        "--weight-packing", choices=get_args(Packing), default="2bit",
        help="packing of linears and table in memory; 5in8 has an unpacker (default: 2bit)",
    )  # fmt: skip
    whole.add_argument("--context", type=int, default=256, metavar="N", help="tokens of the cache (default: 256)")
    add_memory_options(whole)
    whole.add_argument(
        "--add", type=Path, nargs="?", const=_RESULTS, metavar="FILE",
        help=f"add the budget to a results file (without FILE: {_RESULTS})",
    )  # fmt: skip
    parser.set_defaults(run=_demo)


def _demo(options: Namespace) -> None:
    if options.whole is not None:
        from sim.token.demo import demo_whole

        if options.seed:
            raise InputError(f"--seed must be left out with --whole, which draws nothing, not {options.seed}")
        options.array = options.array or _WHOLE_ARRAY
        demo_whole(options)
        return
    from sim.demo import demo  # loads Amaranth

    options.array = options.array or _ARRAY
    demo(options)
