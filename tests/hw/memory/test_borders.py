"""What runs between the two clocks: which registers are read across the border, found in the flattened netlist."""

import json

from amaranth import ClockDomain, ClockSignal, Module
from amaranth.back import rtlil
from amaranth.lib.wiring import Component, In, connect, flipped

from hw.memory.fast import MEMORY_CLOCK, FastController
from hw.synthesis.yosys import run_yosys
from tests.hw.memory.bench import tiny


class Top(Component):
    """A controller whose port stands at registers of the machine's clock, as the machine's does."""

    def __init__(self):
        self.inner = FastController(tiny(), 100e6, 32)
        super().__init__({**self.inner.signature.members, MEMORY_CLOCK: In(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.domains.memory = ClockDomain(reset_less=True)
        m.submodules.inner = self.inner
        m.d.comb += ClockSignal("memory").eq(self.memory_clk)
        for name in ("request", "writes"):
            connect(m, flipped(getattr(self, name)), getattr(self.inner, name))
        for name in ("words", "pins"):
            connect(m, getattr(self.inner, name), flipped(getattr(self, name)))
        m.d.comb += self.ready.eq(self.inner.ready)
        return m


def netlist(folder):
    """The flattened netlist's module."""
    (folder / "top.il").write_text(rtlil.convert(Top(), name="top", emit_src=False))
    passes = ["read_rtlil top.il", "hierarchy -top top", "proc", "flatten", "opt -full", "opt_dff", "clean"]
    run_yosys([*passes, "write_json top.json"], folder)
    return json.loads((folder / "top.json").read_text())["modules"]["top"]


def bits(cell, direction):
    """Of a cell's ports of one direction."""
    ports = cell["port_directions"]
    return [bit for port, found in cell["connections"].items() if ports[port] == direction for bit in found]


def crossed(module):
    """Registers that registers of the other clock read: ``(name, name of the reader, whether directly)``."""
    clocks = {module["netnames"][name]["bits"][0]: name for name in ("clk", MEMORY_CLOCK)}
    names = {}
    for name, net in module["netnames"].items():
        for bit in net["bits"]:
            names[bit] = min(names.get(bit, name), name, key=lambda one: ("$" in one, len(one)))
    registers, made, readers = {}, {}, []
    for cell in module["cells"].values():
        if {"CLK", "Q"} <= set(cell["connections"]):
            registers |= dict.fromkeys(cell["connections"]["Q"], clocks[cell["connections"]["CLK"][0]])
            readers.append(cell["connections"])
        elif not cell["type"].startswith("$mem"):  # the slots, of which WordQueue reads none that changes
            made |= dict.fromkeys(bits(cell, "output"), bits(cell, "input"))

    def sources(bit, seen):
        if bit in registers:
            yield bit
        elif bit not in seen:
            seen.add(bit)
            for one in made.get(bit, ()):
                yield from sources(one, seen)

    for ports in readers:
        own = clocks[ports["CLK"][0]]
        for port in ("D", "EN", "SRST"):
            for bit in ports.get(port, ()):
                for source in sources(bit, set()):
                    if registers[source] != own:
                        name, reader = (names[one].rpartition(".")[2] for one in (source, ports["Q"][0]))
                        yield name, reader, source == bit and port == "D"


def test_single_bits_run_from_register_to_register_and_beside_them_only_what_stands_still(tmp_path):
    found = set(crossed(netlist(tmp_path)))
    kept = {one for one in found if one[0] == "kept"}  # requests and writes, which the controller's registers take up
    assert found - kept == {
        ("asked", "seen", True), ("done", "answered", True), ("filled_gray", "filled_here", True),
        ("emptied_gray", "emptied_there", True), ("ready", "ready", False), ("closed", "reset", True),
    }  # fmt: skip
    assert kept
