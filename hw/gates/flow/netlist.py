"""A flat netlist of library cells as index arrays: nets, gates (one per output pin), flip-flops, clock gates."""

from dataclasses import dataclass, field

import numpy as np

from hw.errors import InputError
from hw.gates.flow.cell_choice import buffer_cell
from hw.gates.flow.cells import Cell, Library
from hw.gates.flow.logic import truth_table

__all__ = ["ClockGate", "FlipFlop", "Gate", "Netlist", "netlist_of"]

CONST_0, CONST_1 = 0, 1  # the first two nets


@dataclass
class Gate:
    """One combinational output: ``truth`` over ``inputs`` (nets, in the cell's sorted pin order).

    Cells with two outputs are two gates; the first carries the cell's area, leakage and input-pin energy.
    """

    cell: Cell
    pin: str
    truth: int
    inputs: list[int]
    output: int
    first: bool


@dataclass
class FlipFlop:
    """A D flip-flop: on its clock the output takes ``data``, inverted where ``inverted``.

    ``clock``: index into ``Netlist.clock_gates``, or None for the root clock.
    """

    cell: Cell
    data_pin: str
    output_pin: str
    data: int
    output: int
    inverted: bool
    clock: int | None


@dataclass
class ClockGate:
    """An integrated clock gate: its clock pulses in the cycles whose edge finds ``enable`` high."""

    cell: Cell
    enable_pin: str
    enable: int


@dataclass
class Netlist:
    """The cells of one design; nets 0 and 1 are the constants. Ports: name -> nets, least significant bit first."""

    nets: int
    gates: list[Gate]
    flip_flops: list[FlipFlop]
    clock_gates: list[ClockGate]
    inputs: dict[str, list[int]]
    outputs: dict[str, list[int]]
    library: Library
    sinks: list[list[tuple[int, int]]] = field(default_factory=list)  # net -> (gate, input position)

    @property
    def area(self) -> float:
        """Cell area in um^2."""
        cells = [gate.cell for gate in self.gates if gate.first]
        cells += [item.cell for item in (*self.flip_flops, *self.clock_gates)]
        return sum(cell.area for cell in cells)

    @property
    def leakage(self) -> float:
        """Leakage power in W."""
        cells = [gate.cell for gate in self.gates if gate.first]
        cells += [item.cell for item in (*self.flip_flops, *self.clock_gates)]
        return sum(cell.leakage for cell in cells)

    @property
    def cells(self) -> int:
        """Number of cells."""
        return sum(gate.first for gate in self.gates) + len(self.flip_flops) + len(self.clock_gates)

    def loads(self, wire_capacitance: float) -> np.ndarray:
        """Capacitance of each net in F: the input pins it drives, and ``wire_capacitance`` per pin."""
        load = np.zeros(self.nets)
        for gate in self.gates:
            for name, net in zip(gate.cell.inputs, gate.inputs, strict=True):
                if gate.first:
                    load[net] += gate.cell.pins[name].capacitance + wire_capacitance
        for item in self.flip_flops:
            load[item.data] += item.cell.pins[item.data_pin].capacitance + wire_capacitance
        for item in self.clock_gates:
            load[item.enable] += item.cell.pins[item.enable_pin].capacitance + wire_capacitance
        return load

    def order(self) -> list[int]:
        """Gates such that each follows the drivers of its inputs.

        Raises:
            InputError: a combinational loop.
        """
        driver = {gate.output: index for index, gate in enumerate(self.gates)}
        waiting = [sum(net in driver for net in gate.inputs) for gate in self.gates]
        users: list[list[int]] = [[] for _ in self.gates]
        for index, gate in enumerate(self.gates):
            for net in gate.inputs:
                if net in driver:
                    users[driver[net]].append(index)
        ready = [index for index, count in enumerate(waiting) if count == 0]
        for index in ready:
            for user in users[index]:
                waiting[user] -= 1
                if waiting[user] == 0:
                    ready.append(user)
        if len(ready) != len(self.gates):
            raise InputError("the netlist must have no combinational loop")
        return ready


def netlist_of(module: dict, library: Library, clock: str = "clk", max_fanout: int = 12) -> Netlist:
    """Build the arrays from yosys' JSON module; nets with more than ``max_fanout`` sinks get buffers.

    Raises:
        InputError: a cell that the library lacks or that this flow does not know.
    """
    builder = _Builder(library, clock)
    for name, port in module["ports"].items():
        if name not in (clock, "rst"):
            nets = [builder.net(bit) for bit in port["bits"]]
            (builder.inputs if port["direction"] == "input" else builder.outputs)[name] = nets
        elif name == clock:
            builder.root = port["bits"][0]
    for cell in module["cells"].values():
        builder.add(cell["type"], cell["connections"])
    netlist = builder.finish()
    if max_fanout:
        _split_fanout(netlist, max_fanout)
    return netlist


class _Builder:
    """Collects cells; clock nets are resolved at the end."""

    def __init__(self, library: Library, clock: str) -> None:
        self.library = library
        self.index: dict[object, int] = {"0": CONST_0, "1": CONST_1, "x": CONST_0}
        self.root: object = None
        self.clock = clock
        self.inputs: dict[str, list[int]] = {}
        self.outputs: dict[str, list[int]] = {}
        self.gates: list[Gate] = []
        self.flops: list[tuple[FlipFlop, object]] = []
        self.clock_gates: list[ClockGate] = []
        self.gate_of_clock: dict[object, int] = {}
        self.truths: dict[tuple[str, str], int] = {}

    def net(self, bit: object) -> int:
        return self.index.setdefault(bit, len(self.index) - 1)  # "x" shares net 0

    def add(self, kind: str, connections: dict[str, list]) -> None:
        cell = self.library.cell(kind)
        bits = {pin: wires[0] for pin, wires in connections.items() if wires}
        if cell.gating:
            self._add_clock_gate(cell, bits)
        elif cell.flip_flop:
            self._add_flip_flop(cell, bits)
        elif cell.sequential:
            raise InputError(f"the netlist must hold flip-flops only, not {kind}")
        else:
            inputs = [self.net(bits[pin]) for pin in cell.inputs]
            used = [pin for pin in cell.outputs if pin in bits]
            for position, pin in enumerate(used):
                truth = self.truths.setdefault((kind, pin), truth_table(cell.pins[pin].function, cell.inputs))
                self.gates.append(Gate(cell, pin, truth, inputs, self.net(bits[pin]), position == 0))

    def _add_flip_flop(self, cell: Cell, bits: dict[str, object]) -> None:
        flop = cell.flip_flop
        data = flop.next_state.strip("()! '")
        output = cell.outputs[0]
        inverted = ("!" in flop.next_state) != (cell.pins[output].function.strip("()") == flop.inverse)
        self.flops.append(
            (
                FlipFlop(cell, data, output, self.net(bits[data]), self.net(bits[output]), inverted, None),
                bits[flop.clock],
            )
        )

    def _add_clock_gate(self, cell: Cell, bits: dict[str, object]) -> None:
        role = {pin.gating: pin.name for pin in cell.pins.values() if pin.gating}
        self.gate_of_clock[bits[role["out"]]] = len(self.clock_gates)
        self.clock_gates.append(ClockGate(cell, role["enable"], self.net(bits[role["enable"]])))

    def finish(self) -> Netlist:
        flops = []
        for flop, clock in self.flops:
            if clock != self.root:
                if clock not in self.gate_of_clock:
                    raise InputError(f"every flip-flop must be clocked by {self.clock} or a clock gate")
                flop.clock = self.gate_of_clock[clock]
            flops.append(flop)
        nets = max(self.index.values()) + 1
        return Netlist(nets, self.gates, flops, self.clock_gates, self.inputs, self.outputs, self.library)


def _split_fanout(netlist: Netlist, limit: int) -> None:
    """Give every net with more than ``limit`` sinks a balanced tree of buffers."""
    cell = buffer_cell(netlist.library)
    sinks: dict[int, list[tuple[object, int | None]]] = {}
    for gate in netlist.gates:
        for position, net in enumerate(gate.inputs if gate.first else []):
            sinks.setdefault(net, []).append((gate, position))
    for item in netlist.flip_flops:
        sinks.setdefault(item.data, []).append((item, None))
    for net, users in sinks.items():
        if net in (CONST_0, CONST_1):
            continue
        while len(users) > limit:
            groups = [users[i : i + limit] for i in range(0, len(users), limit)]
            users = []
            for group in groups:
                output = netlist.nets
                netlist.nets += 1
                for sink, position in group:
                    if position is None:
                        sink.data = output
                    else:
                        sink.inputs[position] = output
                buffer = Gate(cell, cell.outputs[0], 0b10, [net], output, True)
                netlist.gates.append(buffer)
                users.append((buffer, 0))
