"""The controller with its pins' registers as one module, for simulators and synthesis."""

from amaranth import ClockDomain, ClockSignal, DomainRenamer, Module
from amaranth.back import rtlil
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.whole.ports import request_layout, write_layout
from hw.memory.controller import SdramController
from hw.memory.fast import MEMORY_CLOCK, FastController
from hw.memory.pins import PinSignature, SdramIo
from hw.synthesis.readable_verilog import readable_verilog

__all__ = ["SDRAM_NAME", "SdramTop", "sdram_verilog"]

SDRAM_NAME = "tritforge_sdram"


class SdramTop(Component):
    """``controller`` with registers behind its outputs and its data inputs; ``chip``: the pins of the chip.

    A ``FastController`` has its clock from ``memory_clk``.
    """

    def __init__(self, controller: SdramController | FastController):
        self.controller, self.io = controller, SdramIo(controller.chip)
        self.fast = isinstance(controller, FastController)
        super().__init__(
            {
                "request": In(stream.Signature(request_layout())),
                "words": Out(stream.Signature(controller.word_bits)),
                "writes": In(stream.Signature(write_layout(controller.word_bits))),
                "ready": Out(1),
                "chip": Out(PinSignature(controller.chip)),
                **({MEMORY_CLOCK: In(1)} if self.fast else {}),
            }
        )

    def elaborate(self, platform) -> Module:
        """Wires alone."""
        m = Module()
        controller, pads = self.controller, self.io
        m.submodules.controller, m.submodules.io = controller, DomainRenamer(controller.pins_domain)(pads)
        if self.fast:
            m.domains.memory = ClockDomain(reset_less=True)
            m.d.comb += ClockSignal("memory").eq(self.memory_clk)
        connect(m, controller.pins, pads.pins)
        connect(m, pads.chip_pins, flipped(self.chip))
        connect(m, flipped(self.request), controller.request)
        connect(m, controller.words, flipped(self.words))
        connect(m, flipped(self.writes), controller.writes)
        m.d.comb += self.ready.eq(controller.ready)
        return m


def sdram_verilog(controller: SdramController | FastController) -> str:
    """Verilog of ``SdramTop``, the same bytes on every run; the top module is ``tritforge_sdram``."""
    chip, timing = controller.chip, controller.timing
    header = [
        f"{SDRAM_NAME} by tritforge: {chip.name}, words of {controller.word_bits} bits, CAS latency {timing.cas}",
        f"Clocks: {', '.join(f'{name} {value}' for name, value in timing._asdict().items())}",
        "SPDX-License-Identifier: Apache-2.0",
    ]
    return readable_verilog(rtlil.convert(SdramTop(controller), name=SDRAM_NAME, emit_src=False), SDRAM_NAME, header)
