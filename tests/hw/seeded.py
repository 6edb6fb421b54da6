"""Faults seeded into the package ``hw``, one at a time."""

import inspect
import shutil
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

SOURCE = Path(__file__).parents[2] / "hw"


class Fault(NamedTuple):
    """``old`` in ``file`` becomes ``new``."""

    file: str  # within the room that a list of faults is about
    old: str
    new: str

    def within(self, text: str) -> str:
        """``text`` of the file with the fault in it."""
        assert text.count(self.old) == 1, self
        return text.replace(self.old, self.new)


def mutated(module: ModuleType, old: str, new: str) -> dict:
    """Names of a copy of ``module`` with ``old`` become ``new``."""
    copy = {"__name__": module.__name__}
    text = Fault(module.__name__, old, new).within(inspect.getsource(module))
    exec(compile(text, module.__file__, "exec"), copy)
    return copy


def copy_with(fault: Fault, room: Path, folder: Path) -> None:
    """The package in ``folder``, with a fault in a file of its ``room``; without what no gateware needs."""
    shutil.copytree(SOURCE, folder / "hw", ignore=shutil.ignore_patterns("gates", "boards", "host", "__pycache__"))
    path = folder / "hw" / room / fault.file
    path.write_text(fault.within(path.read_text()))
