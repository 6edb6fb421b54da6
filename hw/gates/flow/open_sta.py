"""The same netlist timed by OpenSTA: a second opinion on the static timing."""

import gzip
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from hw.errors import InputError
from hw.gates.flow.cells import Cell
from hw.gates.flow.netlist import Netlist
from hw.gates.flow.power import inactive_levels
from hw.gates.flow.timing import clock_slew

__all__ = ["has_open_sta", "open_sta_critical"]

_DIGITS = 6
_WIRE_LOAD = re.compile(rb"default_wire_load\w*\s*:[^;]*;")  # before layout there are no wires
_PROGRAM = "sta"
_EDGE_LOADS = re.compile(rb"(rise|fall)_capacitance(_range)?\s*(:[^;]*;|\([^)]*\)\s*;)")


def has_open_sta() -> bool:
    """Whether the program is there."""
    return shutil.which(_PROGRAM) is not None


def open_sta_critical(netlist: Netlist, liberty: Sequence[Path], near: float, edge_loads: bool) -> float:
    """The shortest clock period by OpenSTA, s: ideal clock, inputs at the clock edge, as ``timing.analyse`` has it.

    ``near``, s, is a period of that order: OpenSTA keeps seven digits of its slack. ``edge_loads``: a pin loads a
    rising and a falling net by the capacitance of that edge, where the library has them; else by their mean.

    Raises:
        InputError: OpenSTA is not installed, or the netlist has clock gates.
        RuntimeError: OpenSTA does not answer with a slack.
    """
    if netlist.clock_gates:
        raise InputError("the cross-check must get a netlist without clock gates")
    if not has_open_sta():
        raise InputError("the cross-check of timing needs OpenSTA: apt install opensta")
    unit = netlist.library.time_unit
    slew, period = clock_slew(netlist.library) / unit, near / unit
    with tempfile.TemporaryDirectory(prefix="tritforge-sta-") as name:
        folder = Path(name)
        script = []
        for number, path in enumerate(liberty):
            data = path.read_bytes()
            text = gzip.decompress(data) if path.suffix == ".gz" else data
            text = _WIRE_LOAD.sub(b"", text)
            (folder / f"{number}.lib").write_bytes(text if edge_loads else _EDGE_LOADS.sub(b"", text))
            script.append(f"read_liberty {number}.lib")
        (folder / "top.v").write_text(_verilog(netlist), encoding="utf-8")
        script += [
            "read_verilog top.v",
            "link_design top",
            f"create_clock -name clk -period {period:.6f} [get_ports clk]",
            f"set_clock_transition {slew} [get_clocks clk]",
            f"set_input_transition {slew} [get_ports i*]",
            "set_input_delay 0 -clock clk [get_ports i*]",
            "set_output_delay 0 -clock clk [all_outputs]",
            f"report_worst_slack -digits {_DIGITS}",
            "exit",
        ]
        (folder / "run.tcl").write_text("\n".join(script) + "\n", encoding="utf-8")
        done = subprocess.run([_PROGRAM, "run.tcl"], cwd=folder, capture_output=True, text=True, check=False)
    found = re.search(r"worst slack (-?[\d.]+)", done.stdout)
    if found is None:
        raise RuntimeError(f"OpenSTA gave no slack: {(done.stdout + done.stderr).strip()[-300:]}")
    return (round(period, 6) - float(found[1])) * unit


def _verilog(netlist: Netlist) -> str:
    """The netlist as Verilog of cells; bits of ports are ports of their own, nets 0 and 1 the constants."""
    inputs = [net for nets in netlist.inputs.values() for net in nets]
    outputs = [net for nets in netlist.outputs.values() for net in nets]
    ports = ["clk", *(f"i{n}" for n in range(len(inputs))), *(f"o{n}" for n in range(len(outputs)))]
    lines = [f"module top ({', '.join(ports)});", "  input clk;"]
    lines += [f"  input i{n};\n  wire n{net};\n  assign n{net} = i{n};" for n, net in enumerate(inputs)]
    lines += [f"  output o{n};\n  assign o{n} = n{net};" for n, net in enumerate(outputs)]
    lines += [f"  wire n{net};" for net in range(2, netlist.nets) if net not in set(inputs)]
    at = 0
    while at < len(netlist.gates):
        gate = netlist.gates[at]
        pins = dict(zip(gate.cell.inputs, gate.inputs, strict=True)) | {gate.pin: gate.output}
        at += 1
        while at < len(netlist.gates) and not netlist.gates[at].first:  # further outputs of the same cell
            pins[netlist.gates[at].pin] = netlist.gates[at].output
            at += 1
        lines.append(_instance(gate.cell, f"g{at}", {pin: _net(net) for pin, net in pins.items()}))
    for number, flop in enumerate(netlist.flip_flops):
        pins = {flop.data_pin: _net(flop.data), flop.output_pin: _net(flop.output), flop.cell.flip_flop.clock: "clk"}
        others = [pin for pin in flop.cell.inputs if pin not in pins]
        pins |= {pin: f"1'b{level}" for pin, level in inactive_levels(flop.cell, others).items()}
        lines.append(_instance(flop.cell, f"f{number}", pins))
    return "\n".join([*lines, "endmodule", ""])


def _net(net: int) -> str:
    return f"1'b{net}" if net < 2 else f"n{net}"


def _instance(cell: Cell, name: str, pins: dict[str, str]) -> str:
    return f"  {cell.name} {name} ({', '.join(f'.{pin}({net})' for pin, net in pins.items())});"
