"""The same netlist in Verilog with the same delays, counted by Icarus: a second opinion on the event simulation.

Every gate becomes a module whose ``specify`` block holds its delay per input and edge; Icarus applies its own event
queue and its own inertial rule.
"""

import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from hw.errors import InputError
from hw.gates.flow.netlist import Netlist
from hw.gates.flow.timing import Timing

__all__ = ["icarus_toggles"]

_UNIT = 1e-13  # s: one time step of the Verilog model


def icarus_toggles(
    netlist: Netlist, timing: Timing, stimulus: np.ndarray, warm_up: int
) -> tuple[np.ndarray, np.ndarray]:
    """Transitions of every net after ``warm_up`` cycles, and the outputs after every cycle, as ``simulate`` gives them.

    Raises:
        InputError: Icarus is not installed, or the netlist has clock gates.
    """
    if netlist.clock_gates:
        raise InputError("the cross-check must get a netlist without clock gates")
    if not (shutil.which("iverilog") and shutil.which("vvp")):
        raise InputError("the cross-check needs Icarus Verilog: apt install iverilog")
    with tempfile.TemporaryDirectory(prefix="tritforge-icarus-") as name:
        folder = Path(name)
        rows = ["".join(map(str, row[::-1])) for row in np.asarray(stimulus, dtype=np.uint8)]
        (folder / "stimulus.txt").write_text("\n".join(rows) + "\n", encoding="utf-8")
        (folder / "bench.v").write_text(_verilog(netlist, timing, stimulus.shape, warm_up), encoding="utf-8")
        _call(["iverilog", "-g2012", "-gspecify", "-o", "bench.vvp", "bench.v"], folder)
        lines = _call(["vvp", "-n", "bench.vvp"], folder).split()
    outputs = [line[1:] for line in lines if line.startswith("o")]
    samples = np.array([[int(bit) for bit in text[::-1]] for text in outputs], dtype=np.uint8)
    return np.array([int(line[1:]) for line in lines if line.startswith("t")]), samples


def _call(command: list[str], folder: Path) -> str:
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


def _steps(seconds: float) -> int:
    return max(1, round(float(seconds) / _UNIT))


def _verilog(netlist: Netlist, timing: Timing, shape: tuple[int, int], warm_up: int) -> str:
    """Modules of all gates and one bench that counts."""
    cycles, width = shape
    period = 2 * _steps(4 * timing.critical)
    inputs = [net for nets in netlist.inputs.values() for net in nets]
    outputs = [net for nets in netlist.outputs.values() for net in nets]
    modules, body = [], []
    for g, gate in enumerate(netlist.gates):
        names = [f"a{i}" for i in range(len(gate.inputs))]
        paths = [
            f"    ({name} => y) = ({_steps(delay[1])}, {_steps(delay[0])});"
            for name, delay in zip(names, timing.gate_delays[g], strict=True)
        ]
        states = 1 << len(names)
        modules += [
            f"module gate_{g} (input {', '.join(names)}, output y);",
            f"  wire [{states - 1}:0] truth = {states}'h{gate.truth:x};",
            f"  assign y = truth[{{{', '.join(reversed(names))}}}];",
            "  specify",
            *paths,
            "  endspecify",
            "endmodule",
        ]
        ports = ", ".join(f"n{net}" for net in (*gate.inputs, gate.output))
        body.append(f"  gate_{g} g{g} ({ports});")
    for f, flop in enumerate(netlist.flip_flops):
        data = f"{'~' if flop.inverted else ''}n{flop.data}"
        fall, rise = (_steps(delay) for delay in timing.flop_delays[f])
        body += [
            f"  reg q{f} = 0;",
            f"  assign n{flop.output} = q{f};",
            f"  always @(posedge clk) if ({data}) q{f} <= #{rise} 1'b1; else q{f} <= #{fall} 1'b0;",
        ]
    body += [f"  assign n{net} = given[{i}];" for i, net in enumerate(inputs)]
    body += [f"  always @(n{net}) toggles[{net}] = toggles[{net}] + counting;" for net in range(2, netlist.nets)]
    taken = ", ".join(f"n{net}" for net in reversed(outputs))
    return "\n".join(
        [
            "`timescale 1ps/1ps",
            *modules,
            "module bench;",
            *(f"  wire n{net};" for net in range(netlist.nets)),
            "  assign n0 = 1'b0;",
            "  assign n1 = 1'b1;",
            "  reg clk = 0, counting = 0;",
            f"  reg [{width - 1}:0] given = 0;",
            f"  reg [{width - 1}:0] rows [0:{cycles - 1}];",
            f"  integer toggles [0:{netlist.nets - 1}];",
            "  integer i;",
            *body,
            "  initial begin",
            f"    for (i = 0; i < {netlist.nets}; i = i + 1) toggles[i] = 0;",
            '    $readmemb("stimulus.txt", rows);',
            f"    #{period};",
            f"    for (i = 0; i < {cycles}; i = i + 1) begin",
            f"      if (i == {warm_up}) counting = 1;",
            "      clk = 1;",
            "      given <= rows[i];",
            f"      #{period // 2} clk = 0;",
            f'      #{period // 2} $display("o%b", {{{taken}}});',
            "    end",
            f'    for (i = 0; i < {netlist.nets}; i = i + 1) $display("t%0d", toggles[i]);',
            "    $finish;",
            "  end",
            "endmodule",
            "",
        ]
    )
