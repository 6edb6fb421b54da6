"""Runs the place-and-route programs and packers of the yowasp packages, and follows what they say."""

import os
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from hw.boards.catalog import Board
from hw.errors import InputError
from hw.synthesis.families import FAMILIES, Flow

__all__ = ["ToolFailure", "flow_of", "run_tool"]

_KEPT_LINES = 400


class ToolFailure(RuntimeError):
    """A program ended with an error; the message is its own last word."""


def flow_of(board: Board) -> Flow:
    """Place and route and packing for a board.

    Raises:
        InputError: the family has none in Python packages; says what to do instead.
    """
    flow = FAMILIES[board.family].flow
    if flow is None or not flow.package:
        raise InputError(
            f"board {board.name}: no open place and route for {board.part} here; "
            f"`tritforge verilog --board {board.name}` writes the script for the vendor's tool"
        )
    return flow


def run_tool(flow: Flow, program: str, arguments: Sequence[str], folder: Path, heard: Callable[[str], None]) -> str:
    """Run ``program`` in ``folder``, give each line of its output to ``heard``, and return the package's version.

    The package's own program is taken where it is installed, else one of that name beside the interpreter or on PATH.

    Raises:
        InputError: neither is there; names the package.
        ToolFailure: it failed.
    """
    module = flow.package.replace("-", "_")
    entry = flow.entry if flow.entry and program == flow.route else f"run_{program.replace('-', '_')}"
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if find_spec(module) and hasattr(import_module(module), entry):
        code = f"import sys, {module} as tools; sys.exit(tools.{entry}(sys.argv[1:]))"
        command = [sys.executable, "-c", code]
    elif found := shutil.which(program, path=beside):
        command = [found]
    else:
        raise InputError(f"{program} is missing: pip install {flow.package} (or tritforge[boards])")
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
        return f"{flow.package} {version(flow.package)}"
    except PackageNotFoundError:
        return program
