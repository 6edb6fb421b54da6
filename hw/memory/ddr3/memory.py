"""``Ddr3Core``: the generated controller and what brings it up. ``Ddr3Top``: the whole memory, to be simulated."""

from typing import Any

from amaranth import ClockSignal, Instance, Module, ResetInserter, ResetSignal
from amaranth.back import rtlil
from amaranth.hdl import IOPort
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.whole.ports import request_layout, write_layout
from hw.memory.ddr3.chips import Ddr3Chip, Skew
from hw.memory.ddr3.core import CORE_NAME, PADS, core_ports, ddr3_verilog, pad_widths
from hw.memory.ddr3.levelling import Levelling
from hw.memory.ddr3.port import BurstPort
from hw.synthesis.readable_verilog import readable_verilog

__all__ = ["TOP_NAME", "Ddr3Core", "Ddr3Pads", "Ddr3Top", "attach", "simulated_ddr3"]

TOP_NAME = "tritforge_ddr3_memory"
_NATIVE = "port_"


class Ddr3Pads:
    """Ports of a top level for a chip's pins, ``ddram_*``."""

    def __init__(self, chip: Ddr3Chip):
        self.ports = {name: IOPort(bits, name=f"ddram_{name}") for name, bits in pad_widths(chip).items()}


class Ddr3Core(Component):
    """Controller, PHY and chip behind LiteDRAM's native port, levelled by itself.

    ``pads``: the board's; the core then makes the clock of domain ``sync`` from ``pin``. None: simulated, and clocked
    by ``sync``.

    Members
    -------
    port_* : the native port. ready : the memory may be used.
    pin : the board's clock. clk, rst : of domain ``sync``, where there are pads.
    delays, slips : what levelling gave each byte.
    """

    def __init__(self, chip: Ddr3Chip, clock_hz: float, pads: Ddr3Pads | None = None):
        self.chip, self.pads = chip, pads
        self.levelling = Levelling(chip, clock_hz)
        native = {name: port for name, port in core_ports(chip).items() if name.startswith(_NATIVE)}
        members: dict[str, Any] = {name: Out(bits) if driven else In(bits) for name, (bits, driven) in native.items()}
        members |= {"ready": Out(1), "pin": In(1), "clk": Out(1), "rst": Out(1)}
        levels = {name: Out(len(getattr(self.levelling, name))) for name in ("delays", "slips")}
        super().__init__(members | levels)

    def elaborate(self, platform) -> Module:
        """The generated module beside its levelling."""
        m = Module()
        m.submodules.levelling = levelling = self.levelling
        ports: dict[str, Any] = {}
        for name, (_, driven) in core_ports(self.chip).items():
            owner = self if name.startswith(_NATIVE) else levelling
            ports[f"{'o' if driven else 'i'}_{name}"] = getattr(owner, name)
        if self.pads is None:
            ports |= {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        else:
            ports |= {"i_clk": self.pin, "o_sys_clk": self.clk, "o_sys_rst": self.rst}
            ports |= {f"{PADS[name]}_ddram_{name}": port for name, port in self.pads.ports.items()}
        m.submodules.core = Instance(CORE_NAME, **ports)
        m.d.comb += [getattr(self, name).eq(getattr(levelling, name)) for name in ("ready", "delays", "slips")]
        return m


def attach(m: Module, port: BurstPort, core: Ddr3Core) -> None:
    """Wires between the two; ``port`` may stand in a ``ResetInserter`` of ``m``."""
    m.d.comb += port.enabled.eq(core.ready)
    for name, (_, driven) in core_ports(core.chip).items():
        if name.startswith(_NATIVE):
            mine, its = getattr(port, name), getattr(core, name)
            m.d.comb += mine.eq(its) if driven else its.eq(mine)


class Ddr3Top(Component):
    """A memory of words with a simulated chip; ``restart`` resets the port, as a host does."""

    def __init__(self, chip: Ddr3Chip, clock_hz: float, word_bits: int):
        self.core = Ddr3Core(chip, clock_hz)
        self.port = BurstPort(word_bits, chip.burst_bits, chip.address_bits)
        levels = {name: Out(len(getattr(self.core, name))) for name in ("delays", "slips")}
        super().__init__(
            {
                "request": In(stream.Signature(request_layout())),
                "words": Out(stream.Signature(word_bits)),
                "writes": In(stream.Signature(write_layout(word_bits))),
                "ready": Out(1),
                "restart": In(1),
                **levels,
            }
        )

    def elaborate(self, platform) -> Module:
        """Wires alone."""
        m = Module()
        m.submodules.core = core = self.core
        m.submodules.port = ResetInserter(self.restart)(self.port)
        attach(m, self.port, core)
        connect(m, flipped(self.request), self.port.request)
        connect(m, self.port.words, flipped(self.words))
        connect(m, flipped(self.writes), self.port.writes)
        m.d.comb += [getattr(self, name).eq(getattr(core, name)) for name in ("ready", "delays", "slips")]
        return m


def simulated_ddr3(chip: Ddr3Chip, clock_hz: float, word_bits: int, skew: tuple[Skew, ...]) -> str:
    """Verilog of ``Ddr3Top`` and of the core in it; the top module is ``tritforge_ddr3_memory``.

    Raises:
        InputError: LiteDRAM is missing.
    """
    core = ddr3_verilog(chip, clock_hz, None, skew)
    header = [
        f"{TOP_NAME} by tritforge: {chip.name} simulated, words of {word_bits} bits",
        "SPDX-License-Identifier: Apache-2.0",
    ]
    text = rtlil.convert(Ddr3Top(chip, clock_hz, word_bits), name=TOP_NAME, emit_src=False)
    return readable_verilog(text, TOP_NAME, header) + core
