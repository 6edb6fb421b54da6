"""``SdramMachine``: the whole-token machine with the SDRAM controller at its memory port, and the chip's pins."""

from amaranth import ClockDomain, ClockSignal, DomainRenamer, Module
from amaranth.back import rtlil
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.whole.machine import Machine
from hw.memory.chip import SdramChip
from hw.memory.controller import SdramController
from hw.memory.fast import MEMORY_CLOCK, FastController
from hw.memory.pins import PinSignature, SdramIo
from hw.program.machine import MachineConfig
from hw.synthesis.readable_verilog import readable_verilog
from hw.verilog import MACHINE_NAME

__all__ = ["SdramMachine", "sdram_machine_verilog"]

_PORT = ("request", "words", "writes")


class SdramMachine(Component):
    """The machine's members but for its memory port; ``chip``: pins of the chip, behind their registers.

    One clock and one reset for all of it, as on a board; or, with a ``ratio`` above 1, a clock ``memory_clk`` for
    controller and chip that is so much faster than ``clock_hz``, the machine's.
    """

    def __init__(self, machine: MachineConfig, chip: SdramChip, clock_hz: float, ratio: int = 1):
        self.machine = Machine(machine)
        kind = FastController if ratio > 1 else SdramController
        self.controller = kind(chip, ratio * clock_hz, machine.array.weight_bus_bits)
        self.io = DomainRenamer(self.controller.pins_domain)(SdramIo(chip))
        members = {name: one for name, one in self.machine.signature.members.items() if name not in _PORT}
        members |= {"chip": Out(PinSignature(chip))} | ({MEMORY_CLOCK: In(1)} if ratio > 1 else {})
        super().__init__(members)

    def elaborate(self, platform) -> Module:
        """Wires alone."""
        m = Module()
        if MEMORY_CLOCK in self.signature.members:
            m.domains.memory = ClockDomain(reset_less=True)
            m.d.comb += ClockSignal("memory").eq(self.memory_clk)
        m.submodules.machine, m.submodules.controller, m.submodules.io = machine, controller, pads = (
            self.machine, self.controller, self.io,
        )  # fmt: skip
        connect(m, machine.request, controller.request)
        connect(m, controller.words, machine.words)
        connect(m, machine.writes, controller.writes)
        connect(m, controller.pins, pads.pins)
        connect(m, pads.chip_pins, flipped(self.chip))
        for name, member in self.signature.members.items():
            inner, outer = getattr(machine, name, None), getattr(self, name)
            if name in ("chip", MEMORY_CLOCK):
                continue
            if member.is_signature:
                connect(m, inner, flipped(outer))
            else:
                m.d.comb += outer.eq(inner)
        return m


def sdram_machine_verilog(machine: MachineConfig, chip: SdramChip, clock_hz: float, ratio: int = 1) -> str:
    """Verilog of ``SdramMachine``, for simulators; the top module is ``tritforge_machine``."""
    design = SdramMachine(machine, chip, clock_hz, ratio)
    faster = f", {ratio} times the machine's" if ratio > 1 else ""
    header = [
        f"{MACHINE_NAME} behind the controller of {chip.name} at {ratio * clock_hz / 1e6:g} MHz{faster}",
        "SPDX-License-Identifier: Apache-2.0",
    ]
    return readable_verilog(rtlil.convert(design, name=MACHINE_NAME, emit_src=False), MACHINE_NAME, header)
