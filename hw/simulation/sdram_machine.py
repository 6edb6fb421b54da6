"""``SdramMachine``: the whole-token machine with the SDRAM controller at its memory port, and the chip's pins."""

from amaranth import Module
from amaranth.back import rtlil
from amaranth.lib.wiring import Component, Out, connect, flipped

from hw.gateware.whole.machine import Machine
from hw.memory.chip import SdramChip
from hw.memory.controller import SdramController
from hw.memory.pins import PinSignature, SdramIo
from hw.program.machine import MachineConfig
from hw.synthesis.readable_verilog import readable_verilog
from hw.verilog import MACHINE_NAME

__all__ = ["SdramMachine", "sdram_machine_verilog"]

_PORT = ("request", "words", "writes")


class SdramMachine(Component):
    """The machine's members but for its memory port; ``chip``: pins of the chip, behind their registers.

    One clock and one reset for all of it, as on a board.
    """

    def __init__(self, machine: MachineConfig, chip: SdramChip, clock_hz: float):
        self.machine = Machine(machine)
        self.controller = SdramController(chip, clock_hz, machine.array.weight_bus_bits)
        self.io = SdramIo(chip)
        members = {name: one for name, one in self.machine.signature.members.items() if name not in _PORT}
        super().__init__(members | {"chip": Out(PinSignature(chip))})

    def elaborate(self, platform) -> Module:
        """Wires alone."""
        m = Module()
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
            if name == "chip":
                continue
            if member.is_signature:
                connect(m, inner, flipped(outer))
            else:
                m.d.comb += outer.eq(inner)
        return m


def sdram_machine_verilog(machine: MachineConfig, chip: SdramChip, clock_hz: float) -> str:
    """Verilog of ``SdramMachine``, for simulators; the top module is ``tritforge_machine``."""
    design = SdramMachine(machine, chip, clock_hz)
    header = [
        f"{MACHINE_NAME} behind the controller of {chip.name} at {clock_hz / 1e6:g} MHz",
        "SPDX-License-Identifier: Apache-2.0",
    ]
    return readable_verilog(rtlil.convert(design, name=MACHINE_NAME, emit_src=False), MACHINE_NAME, header)
