"""What a core is made of before technology mapping: where a multiplication would still show as one.

The proof that an array is multiplier-free: Yosys flattens the core to word-level cells and counts them, so that
``$mul`` or ``$div`` cannot hide in gates; the requantizers' multipliers, where results are int8, are counted apart.
"""

import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from amaranth.back import rtlil

from hw.config import ArrayConfig
from hw.gateware.core import Core
from hw.synthesis.yosys import run_yosys

__all__ = ["MULTIPLIERS", "MultiplierProof", "prove_multiplier_free", "requantizer_multipliers", "word_level_cells"]

# Yosys' word-level cells that a multiplier-free design must not hold.
MULTIPLIERS = ("$mul", "$div", "$mod", "$divfloor", "$modfloor", "$pow", "$macc", "$macc_v2")

_PASSES = ("read_rtlil design.il", "hierarchy -check -auto-top", "proc", "flatten", "check -assert")


class MultiplierProof(NamedTuple):
    """Word-level cells of one core that bear on the claim."""

    adders: int  # $add and $sub: the array is really in there
    multipliers: int  # cells of MULTIPLIERS
    in_requantizers: int  # of them, those that the options ask for: one per column, two with offsets


def requantizer_multipliers(config: ArrayConfig) -> int:
    """Multipliers that a core must hold: none for sums; per column one for its scale, one for its offset."""
    return config.cols * (1 + config.sum_of_x) if config.results == "int8" else 0


def prove_multiplier_free(config: ArrayConfig) -> MultiplierProof:
    """Count the word-level cells of ``config``'s core and hold them against the claim.

    Raises:
        InputError: the array is not a ternary one, or pyosys is missing.
        RuntimeError: the core multiplies beyond its requantizers, or Yosys refuses it because a net has two drivers.
    """
    cells = word_level_cells(rtlil.convert(Core(config), name="core", emit_src=False))
    adders, multipliers = (sum(cells.get(name, 0) for name in kind) for kind in (("$add", "$sub"), MULTIPLIERS))
    proof = MultiplierProof(adders, multipliers, requantizer_multipliers(config))
    if proof.multipliers != proof.in_requantizers:
        raise RuntimeError(
            f"{config.name}: the core must hold {proof.in_requantizers} multipliers, not {proof.multipliers}"
        )
    return proof


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
