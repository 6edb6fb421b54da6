"""A synthesized design as Verilog again: of Yosys' own gates, or of a library's cells with models from their functions.

The models have no delays, and know 0, 1 and X exactly: a cell's output is X only where both values of the unknown
inputs give different outputs.
"""

import json
import tempfile
from pathlib import Path

from hw.gates.flow.cells import Cell, Library
from hw.gates.flow.logic import truth_table
from hw.gates.flow.technology_mapping import Recipe, synthesize
from hw.synthesis.yosys import run_yosys

__all__ = ["generic_netlist", "mapped_netlist"]

_MEMORIES = ("hierarchy -check -top top", "proc", "flatten", "opt", "memory_map", "opt_clean")  # none is left


def generic_netlist(rtlil: str, name: str, macros: str = "") -> str:
    """Verilog of module ``top`` of ``rtlil``, called ``name``, after Yosys' ``synth`` to its own one-bit gates.

    ``macros``: Verilog of modules that stay instances, which it uses for its memories.

    Raises:
        RuntimeError: Yosys refuses the design.
    """
    read = ["read_verilog -lib -sv macros.v", "read_rtlil design.il"][not macros :]
    passes = [*read, "synth -top top -flatten", "select -assert-none t:$add t:$mem_v2", f"rename top {name}"]
    return _verilog(passes, {"design.il": rtlil, "macros.v": macros}, "write_verilog -noattr out.v")


def mapped_netlist(rtlil: str, name: str, library: Library, recipe: Recipe) -> str:
    """Verilog of module ``top`` of ``rtlil``, called ``name``, in cells of ``library``, with their models.

    Raises:
        RuntimeError: Yosys or abc failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "design.il").write_text(rtlil, encoding="utf-8")
        run_yosys(["read_rtlil design.il", *_MEMORIES, "write_rtlil flat.il"], Path(folder))
        module = synthesize((Path(folder) / "flat.il").read_text(encoding="utf-8"), library, recipe)
    used = sorted({cell["type"] for cell in module["cells"].values()})
    netlist = json.dumps({"modules": {name: module}})
    text = _verilog(["read_json netlist.json"], {"netlist.json": netlist}, "write_verilog -noattr out.v")
    return text + "".join(_model(library.cell(cell)) for cell in used)


def _verilog(passes: list[str], files: dict[str, str], write: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        for file, text in files.items():
            (Path(folder) / file).write_text(text, encoding="utf-8")
        run_yosys([*passes, write], Path(folder))
        return (Path(folder) / "out.v").read_text(encoding="utf-8")


def _model(cell: Cell) -> str:
    """A Verilog module that does what the Liberty functions of a gate or a flip-flop say."""
    ports = ", ".join([*(f"input {pin}" for pin in cell.inputs), *(f"output {pin}" for pin in cell.outputs)])
    lines = [f"module {cell.name} ({ports});"]
    names = cell.inputs
    if flop := cell.flip_flop:
        names = [*cell.inputs, flop.state, flop.inverse]
        lines += [
            f"  reg {flop.state};",
            f"  wire {flop.inverse} = ~{flop.state};",
            f"  always @(posedge {flop.clock}) {flop.state} <= {_choice(flop.next_state, cell.inputs)};",
        ]
    lines += [f"  assign {pin} = {_choice(cell.pins[pin].function, names)};" for pin in cell.outputs]
    return "\n".join(["", *lines, "endmodule", ""])


def _choice(function: str, names: list[str]) -> str:
    """A Liberty function as nested conditions, whose value is X only where it has to be."""
    truth = truth_table(function, names)

    def choose(place: int, state: int) -> str:
        if place < 0:
            return f"1'b{truth >> state & 1}"
        high, low = choose(place - 1, state | 1 << place), choose(place - 1, state)
        return low if high == low else f"({names[place]} ? {high} : {low})"

    return choose(len(names) - 1, 0)
