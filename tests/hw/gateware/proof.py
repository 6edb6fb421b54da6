"""Proofs by Yosys: a design whose output ``ok`` must be 1 is unrolled and its SAT solver looks for a counterexample."""

from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib.wiring import Component

from hw.synthesis.yosys import run_yosys


def prove(design: Component, folder: Path, steps: int, from_reset: bool) -> None:
    """``design.ok`` is 1: in the last of ``steps`` from any state, or in each of them after reset."""
    (folder / "design.il").write_text(rtlil.convert(design, name="top", emit_src=False))
    if from_reset:
        state, question = "dffunmap", f"sat -verify -seq {steps} -set-init-zero -set-at 1 rst 1 -prove ok 1"
    else:
        state, question = "setattr -unset init w:*", f"sat -verify -seq {steps} -prove-skip {steps - 1} -prove ok 1"
    prepare = ["read_rtlil design.il", "hierarchy -check -top top", "proc", "flatten", "memory_map"]
    run_yosys([*prepare, state, "opt", question], folder)
