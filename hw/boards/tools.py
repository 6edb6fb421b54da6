"""Runs the place-and-route programs and packers of the yowasp packages, and follows what they say."""

import os
import re
import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from hw.boards.catalog import Board
from hw.errors import InputError
from hw.synthesis.families import FAMILIES, Flow

__all__ = ["ToolFailure", "flow_of", "run_tool"]

_KEPT_LINES = 400
_VERSION = re.compile(r"\(Version ([^\s)]+)\)")  # as every nextpnr says it


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
    """Run ``program`` in ``folder``, give each line of its output to ``heard``; returns what ran and its version.

    The package's own program is taken where it is installed, else one of that name beside the interpreter or on PATH,
    whose version is what its ``--version`` says of a nextpnr; of any other program, none.

    Raises:
        InputError: neither is there; names the package.
        ToolFailure: it failed.
    """
    module = flow.package.replace("-", "_")
    entry = flow.entry if flow.entry and program == flow.route else f"run_{program.replace('-', '_')}"
    beside = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    if find_spec(module) and hasattr(import_module(module), entry):
        code = f"import sys, {module} as tools; sys.exit(tools.{entry}(sys.argv[1:]))"
        command, ran = [sys.executable, "-c", code], f"{flow.package} {version(flow.package)}"
    elif found := shutil.which(program, path=beside):
        command, ran = [found], f"{program} {_own_version(found)}".rstrip() if program == flow.route else program
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
    return ran


def _own_version(program: str) -> str:
    """What a nextpnr calls its version; empty where it does not say."""
    done = subprocess.run(
        [program, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )
    said = _VERSION.search(done.stdout + done.stderr)
    return said[1] if said else ""
