"""What a design is made of before technology mapping: where a multiplication would still show as one."""

import json
import tempfile
from pathlib import Path

from hw.synthesis.yosys import run_yosys

__all__ = ["MULTIPLIERS", "word_level_cells"]

# Yosys' word-level cells that a multiplier-free design must not hold.
MULTIPLIERS = ("$mul", "$div", "$mod", "$divfloor", "$modfloor", "$pow", "$macc", "$macc_v2")

_PASSES = ("read_rtlil design.il", "hierarchy -check -auto-top", "proc", "flatten", "check -assert")


def word_level_cells(rtlil: str) -> dict[str, int]:
    """Number of cells of each type in a flattened design, before any technology mapping.

    ``rtlil``: Yosys RTLIL text. Yosys' ``check -assert`` must pass: a net with two drivers or none is an error.

    Raises:
        RuntimeError: Yosys refuses the design.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "design.il").write_text(rtlil, encoding="utf-8")
        run_yosys([*_PASSES, "tee -q -o cells stat -json"], folder)
        statistics = json.loads((folder / "cells").read_text(encoding="utf-8"))
    return statistics["design"]["num_cells_by_type"]
