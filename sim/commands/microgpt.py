"""``tritforge microgpt``: its options, apart from ``sim.microgpt.run``, so that help loads neither torch nor RTL."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.fields import add_fields
from quant.microgpt.names import LETTERS
from quant.microgpt.training import Training
from sim.microgpt.choice import MachineChoice

__all__ = ["add_microgpt"]

_RESULTS, _OUT = Path("docs") / "results" / "microgpt.json", Path("build") / "microgpt"


def add_microgpt(parser: ArgumentParser) -> None:
    """Options of ``microgpt``."""
    parser.add_argument(
        "--names", type=Path, metavar="FILE",
        help="names to train on, one per line (default: first names of the US census of 1990, Python package names)",
    )  # fmt: skip
    parser.add_argument(
        "--letters", default=LETTERS, metavar="ABC", help="first letters: a name is written for each (default: a to z)"
    )
    parser.add_argument(
        "--mhz", type=float, default=80.0, metavar="F",
        help="clock that tokens per second are told for (default: 80, which gateGPT's board has)",
    )  # fmt: skip
    parser.add_argument("--no-rtl", action="store_true", help="cycles by the simulator alone: no Verilator, seconds")
    parser.add_argument("--sweep", action="store_true", help="cycles of every array and number of lanes instead")
    parser.add_argument(
        "--route", metavar="BOARD",
        help="instead: place and route the machine for a board, its memory in block RAM (minutes for each seed)",
    )  # fmt: skip
    parser.add_argument("--seeds", default="1,2,3", metavar="N,N", help="placements of --route (default: 1,2,3)")
    parser.add_argument(
        "--out", type=Path, default=_OUT, metavar="DIR", help=f"checkpoints and programs (default: {_OUT})"
    )
    parser.add_argument("--row", metavar="TEXT", help="add a row to the optimization log: what was changed")
    parser.add_argument(
        "--add", type=Path, nargs="?", const=_RESULTS, metavar="FILE",
        help=f"write the row, or the sweep, into a results file (without FILE: {_RESULTS})",
    )  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print JSON at the end instead of text on the way")
    add_fields(parser, Training, "training")
    add_fields(parser, MachineChoice, "machine and number formats")
    parser.set_defaults(run=_microgpt)


def _microgpt(options: Namespace) -> None:
    from sim.microgpt.run import microgpt  # loads torch and numba

    microgpt(options)
