"""Synthesis: RTLIL -> flat netlist of library cells, by yosys and abc."""

import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hw.arithmetic.compressors import FULL_ADDER_VERILOG
from hw.gates.flow.cell_choice import clock_gate_cell, combinational_cells, flip_flop_cells, mapping_liberty
from hw.gates.flow.cells import Cell, Library
from hw.gates.flow.logic import truth_table
from hw.synthesis.yosys import run_yosys

__all__ = ["Recipe", "flow_text", "full_adder_verilog", "has_adder_cell", "synthesize"]

# Rows of full adders for carry chains and for compressors; a bit with a constant input is logic.
_ADDERS = """(* techmap_celltype = "$alu" *)
module chain (A, B, CI, BI, X, Y, CO);
  parameter A_SIGNED = 0;
  parameter B_SIGNED = 0;
  parameter A_WIDTH = 1;
  parameter B_WIDTH = 1;
  parameter Y_WIDTH = 1;
  parameter _TECHMAP_CONSTMSK_A_ = 0;
  parameter _TECHMAP_CONSTMSK_B_ = 0;
  parameter _TECHMAP_CONSTMSK_CI_ = 0;
  input [A_WIDTH-1:0] A;
  input [B_WIDTH-1:0] B;
  input CI, BI;
  output [Y_WIDTH-1:0] X, Y, CO;
  wire [Y_WIDTH-1:0] a, b;
  generate if (A_WIDTH == 0)  // what is left of a constant 0
    assign a = {Y_WIDTH{1'b0}};
  else
    \\$pos #(.A_SIGNED(A_SIGNED), .A_WIDTH(A_WIDTH), .Y_WIDTH(Y_WIDTH)) extend_a (.A(A), .Y(a));
  endgenerate
  \\$pos #(.A_SIGNED(B_SIGNED), .A_WIDTH(B_WIDTH), .Y_WIDTH(Y_WIDTH)) extend_b (.A(B), .Y(b));
  wire [Y_WIDTH-1:0] d = b ^ {Y_WIDTH{BI}};
  wire [Y_WIDTH:0] c = {CO, CI};
  assign X = a ^ d;
  genvar i;
  generate for (i = 0; i < Y_WIDTH; i = i + 1) begin : bits
    if ((i < A_WIDTH ? _TECHMAP_CONSTMSK_A_[i] : !A_SIGNED) || (i < B_WIDTH ? _TECHMAP_CONSTMSK_B_[i] : !B_SIGNED)
        || (i == 0 && _TECHMAP_CONSTMSK_CI_)) begin
      assign Y[i] = X[i] ^ c[i];
      assign CO[i] = (a[i] & d[i]) | (c[i] & X[i]);
    end else
      full_adder add (.a(a[i]), .b(d[i]), .c(c[i]), .s(Y[i]), .co(CO[i]));
  end endgenerate
endmodule

(* techmap_celltype = "$fa" *)
module compressor (A, B, C, X, Y);
  parameter WIDTH = 1;
  parameter _TECHMAP_CONSTMSK_A_ = 0;
  parameter _TECHMAP_CONSTMSK_B_ = 0;
  parameter _TECHMAP_CONSTMSK_C_ = 0;
  input [WIDTH-1:0] A, B, C;
  output [WIDTH-1:0] X, Y;
  genvar i;
  generate for (i = 0; i < WIDTH; i = i + 1) begin : bits
    if (_TECHMAP_CONSTMSK_A_[i] || _TECHMAP_CONSTMSK_B_[i] || _TECHMAP_CONSTMSK_C_[i]) begin
      assign Y[i] = A[i] ^ B[i] ^ C[i];
      assign X[i] = (A[i] & B[i]) | (C[i] & (A[i] | B[i]));
    end else
      full_adder add (.a(A[i]), .b(B[i]), .c(C[i]), .s(Y[i]), .co(X[i]));
  end endgenerate
endmodule
"""
_ADDER_OUTPUTS = {0b10010110: ("s", ""), 0b01101001: ("s", "~"), 0b11101000: ("co", ""), 0b00010111: ("co", "~")}
_ADDER_PASSES = ("techmap -map adders.v", "techmap -map full_adder.v", "opt -fast")
_XOR, _NAND = 0b0110, 0b0111
_LOAD_PINS = 4  # flip-flop inputs that every output drives while abc sizes gates


@dataclass(frozen=True)
class Recipe:
    """How a design is mapped.

    ``adder``: carry chains as ripple or Brent-Kung (before abc's restructuring); ``booth``: radix-4 Booth multipliers;
    ``clock_gate``: registers with an enable get an integrated clock gate where the library has one; ``target_s``:
    delay that abc aims at, None for the least area; ``adder_cells``: full adders become the library's adder cell, or
    two XOR and three NAND cells, which abc then leaves alone.
    """

    adder: Literal["ripple", "brent-kung"] = "ripple"
    booth: bool = False
    clock_gate: bool = False
    target_s: float | None = None
    adder_cells: bool = False


def synthesize(rtlil: str, library: Library, recipe: Recipe) -> dict:
    """Map module ``top`` of ``rtlil`` to cells of ``library`` and return yosys' JSON of it, flat.

    A module ``column`` is mapped once, however often it is used, and flattened when it consists of cells.

    Multipliers are wanted only in baselines: a ternary design is checked by its caller before mapping.

    Raises:
        RuntimeError: yosys or abc failed.
    """
    with tempfile.TemporaryDirectory(prefix="tritforge-gates-") as name:
        folder = Path(name)
        (folder / "design.il").write_text(rtlil, encoding="utf-8")
        (folder / "cells.lib").write_text(mapping_liberty(library), encoding="utf-8")
        (folder / "adders.v").write_text(_ADDERS, encoding="utf-8")
        declaration, adder = full_adder_verilog(library) if recipe.adder_cells else ("", FULL_ADDER_VERILOG)
        (folder / "adder_cell.v").write_text(declaration, encoding="utf-8")
        (folder / "full_adder.v").write_text(adder, encoding="utf-8")
        (folder / "abc.constr").write_text(_constraints(library), encoding="utf-8")
        run_yosys(_passes(library, recipe, "\\column" in rtlil), folder)
        document = json.loads((folder / "netlist.json").read_text(encoding="utf-8"))
    return document["modules"]["top"]


def flow_text(library: Library, recipe: Recipe) -> str:
    """Everything but the design that decides a netlist, as text: identifies a cached one."""
    return "\n".join([*_passes(library, recipe, True), _ADDERS, *full_adder_verilog(library), repr(recipe)])


def has_adder_cell(library: Library) -> bool:
    """Whether the library has a full adder in one cell."""
    return _adder_cell(library) is not None


def full_adder_verilog(library: Library) -> tuple[str, str]:
    """Declarations of cells, and module ``full_adder`` made of them.

    The library's adder cell with its outputs put upright, else two XOR and three NAND cells, else logic and no cells.
    """
    found = _adder_cell(library)
    if found:
        cell, wires = found
        ins = [f".{pin}({wire})" for pin, wire in zip(cell.inputs, "abc", strict=True)]
        outs = [f".{pin}({name}_raw)" for name, (pin, _) in wires.items()]
        body = [
            "  wire s_raw, co_raw;",
            f"  {cell.name} cell (" + ", ".join(ins + outs) + ");",
            *(f"  assign {name} = {inverted}{name}_raw;" for name, (_, inverted) in wires.items()),
        ]
        return _declaration(cell), _module(body)
    xor, nand = _two_input_cell(library, _XOR), _two_input_cell(library, _NAND)
    if xor is None or nand is None:
        return "", FULL_ADDER_VERILOG
    wiring = [(xor, "a", "b", "p"), (xor, "p", "c", "s"), (nand, "a", "b", "g"), (nand, "p", "c", "t")]
    body = ["  wire p, g, t;"]
    for cell, *wires in (*wiring, (nand, "g", "t", "co")):
        ports = ", ".join(f".{pin}({wire})" for pin, wire in zip((*cell.inputs, *cell.outputs), wires, strict=True))
        body.append(f"  {cell.name} {wires[-1]}_cell ({ports});")
    return _declaration(xor) + _declaration(nand), _module(body)


def _adder_cell(library: Library) -> tuple[Cell, dict[str, tuple[str, str]]] | None:
    """The smallest adder cell, and for sum and carry its pin and ``~`` where that is inverted."""
    for cell in combinational_cells(library, multiple_outputs=True):
        if len(cell.inputs) == 3 and len(cell.outputs) == 2:
            roles = {_ADDER_OUTPUTS.get(truth_table(cell.pins[pin].function, cell.inputs)): pin for pin in cell.outputs}
            wires = {role[0]: (pin, role[1]) for role, pin in roles.items() if role}
            if wires.keys() == {"s", "co"}:
                return cell, wires
    return None


def _declaration(cell: Cell) -> str:
    ports = [f"input {pin}" for pin in cell.inputs] + [f"output {pin}" for pin in cell.outputs]
    return f"(* blackbox *) module {cell.name} ({', '.join(ports)}); endmodule\n"


def _module(body: list[str]) -> str:
    return "\n".join(["module full_adder (input a, b, c, output s, co);", *body, "endmodule\n"])


def _two_input_cell(library: Library, truth: int) -> Cell | None:
    """The smallest cell of two inputs with that function."""
    cells = [cell for cell in combinational_cells(library) if len(cell.inputs) == 2]
    fitting = (cell for cell in cells if truth_table(cell.pins[cell.outputs[0]].function, cell.inputs) == truth)
    return next(fitting, None)


def _constraints(library: Library) -> str:
    inverter = next(cell for cell in combinational_cells(library) if len(cell.inputs) == 1)
    flop = flip_flop_cells(library)[0]
    data = next(pin for pin in flop.inputs if pin in flop.flip_flop.next_state)
    load = _LOAD_PINS * flop.pins[data].capacitance / 1e-15  # abc reads fF
    return f"set_driving_cell {inverter.name}\nset_load {load:.4f}\n"


def _passes(library: Library, recipe: Recipe, columns: bool) -> list[str]:
    """The yosys script, one pass a line."""
    target = recipe.target_s if recipe.target_s is not None else 1e-3
    gate = clock_gate_cell(library) if recipe.clock_gate else None
    return [
        "read_rtlil design.il",
        "read_verilog adder_cell.v full_adder.v",
        "hierarchy -check -top top",
        "proc",
        "setattr -unset init w:*",  # registers start unknown on a chip: the designs clear what they need
        *(["setattr -mod -set keep_hierarchy 1 column"] if columns else []),
        f"synth -top top -flatten{' -booth' if recipe.booth else ''} -run coarse:fine",
        "opt -fast -full",
        "memory_map",  # tables of the vector unit become logic
        *(["maccmap -unmap", *_ADDER_PASSES] if recipe.adder == "ripple" else []),
        "techmap",
        "opt -fast",
        *(["clockgate -liberty cells.lib -min_net_size 2"] if gate else []),
        "dfflibmap -liberty cells.lib",
        "opt -fast -nodffe -nosdff",
        f"abc -liberty cells.lib -constr abc.constr -D {target * 1e12:.1f}",
        *(["setattr -mod -unset keep_hierarchy column", "flatten"] if columns else []),
        "setundef -zero",
        "opt_clean -purge",
        "read_liberty -lib -ignore_miss_func cells.lib",
        "check -assert top",
        "select -assert-none top/t:$*",
        "write_json netlist.json",
    ]
