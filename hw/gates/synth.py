"""Synthesis: RTLIL -> flat netlist of library cells, by yosys and abc."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hw.gates.cells import Library
from hw.gates.mapping import clock_gate_cell, combinational_cells, flip_flop_cells, mapping_liberty
from hw.gates.yosys import run_yosys

__all__ = ["Recipe", "synthesize"]

_RIPPLE = """(* techmap_celltype = "$alu" *)
module ripple_alu (A, B, CI, BI, X, Y, CO);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  input CI, BI;
  output [Y_WIDTH-1:0] X, Y, CO;
  wire [Y_WIDTH-1:0] a, b;
  \\$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) extend_a (.A(A), .Y(a));
  \\$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) extend_b (.A(B), .Y(b));
  wire [Y_WIDTH-1:0] d = b ^ {Y_WIDTH{BI}};
  wire [Y_WIDTH:0] c = {CO, CI};
  assign X = a ^ d;
  assign Y = X ^ c;
  genvar i;
  generate for (i = 0; i < Y_WIDTH; i = i + 1) begin : bits
    assign CO[i] = (a[i] & d[i]) | (c[i] & X[i]);
  end endgenerate
endmodule
"""
_LOAD_PINS = 4  # flip-flop inputs that every output drives while abc sizes gates


@dataclass(frozen=True)
class Recipe:
    """How a design is mapped.

    ``adder``: carry chains as ripple or Brent-Kung (before abc's restructuring); ``booth``: radix-4 Booth multipliers;
    ``clock_gate``: registers with an enable get an integrated clock gate where the library has one; ``target_s``:
    delay that abc aims at, None for the least area; ``flatten``: before mapping (False maps each module once and
    flattens the mapped cells).
    """

    adder: Literal["ripple", "brent-kung"] = "ripple"
    booth: bool = False
    clock_gate: bool = False
    target_s: float | None = None
    flatten: bool = True


def synthesize(rtlil: str, top: str, library: Library, recipe: Recipe) -> dict:
    """Map ``rtlil`` to cells of ``library`` and return yosys' JSON of the flat top module.

    Multipliers are wanted only in baselines: a ternary design is checked by its caller before mapping.

    Raises:
        RuntimeError: yosys or abc failed.
    """
    with tempfile.TemporaryDirectory(prefix="tritforge-gates-") as name:
        folder = Path(name)
        (folder / "design.il").write_text(rtlil, encoding="utf-8")
        (folder / "cells.lib").write_text(mapping_liberty(library), encoding="utf-8")
        (folder / "ripple.v").write_text(_RIPPLE, encoding="utf-8")
        (folder / "abc.constr").write_text(_constraints(library), encoding="utf-8")
        run_yosys(_passes(top, library, recipe), folder)
        document = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))
    return document["modules"][top]


def _constraints(library: Library) -> str:
    inverter = next(cell for cell in combinational_cells(library) if len(cell.inputs) == 1)
    flop = flip_flop_cells(library)[0]
    data = next(pin for pin in flop.inputs if pin in flop.flip_flop.next_state)
    load = _LOAD_PINS * flop.pins[data].capacitance / 1e-15  # abc reads fF
    return f"set_driving_cell {inverter.name}\nset_load {load:.4f}\n"


def _passes(top: str, library: Library, recipe: Recipe) -> list[str]:
    """The yosys script, one pass a line."""
    target = recipe.target_s if recipe.target_s is not None else 1e-3
    flat = " -flatten" if recipe.flatten else ""
    gate = clock_gate_cell(library) if recipe.clock_gate else None
    return [
        "read_rtlil design.il",
        f"hierarchy -check -top {top}",
        "proc",
        "setattr -unset init w:*",  # registers start unknown on a chip: the designs clear what they need
        f"synth -top {top}{flat}{' -booth' if recipe.booth else ''} -run coarse:fine",
        "opt -fast -full",
        *(["maccmap -unmap", "techmap -map ripple.v"] if recipe.adder == "ripple" else []),
        "techmap",
        "opt -fast",
        *(["clockgate -liberty cells.lib -min_net_size 2"] if gate else []),
        "dfflibmap -liberty cells.lib",
        "opt -fast -nodffe -nosdff",
        f"abc -liberty cells.lib -constr abc.constr -D {target * 1e12:.1f}",
        *([] if recipe.flatten else ["flatten"]),
        "setundef -zero",
        "opt_clean -purge",
        "read_liberty -lib -ignore_miss_func cells.lib",
        f"check -assert {top}",
        f"select -assert-none {top}/t:$*",
        "write_json netlist.json",
    ]
