"""Pins of an SDR SDRAM, and the registers at them: one behind every output, one behind every data input."""

from amaranth import Const, Module
from amaranth.lib import io, wiring
from amaranth.lib.wiring import Component, In, Out

from hw.memory.chip import SdramChip

__all__ = [
    "ACTIVATE",
    "MODE",
    "NOTHING",
    "PRECHARGE",
    "READ",
    "REFRESH",
    "WRITE",
    "PinSignature",
    "SdramIo",
]

# RAS, CAS, WE, low when asserted; the most significant bit is RAS
MODE, REFRESH, PRECHARGE, ACTIVATE, WRITE, READ, NOTHING = 0b000, 0b001, 0b010, 0b011, 0b100, 0b101, 0b111


class PinSignature(wiring.Signature):
    """Seen from the controller; ``command``: RAS, CAS and WE, low when asserted. Chip select is always asserted.

    ``dq_oe``: the controller drives the data pins. A set bit of ``dqm`` keeps a written byte as it was, which
    is how all begin, so that a reset within a write spoils nothing.
    """

    def __init__(self, chip: SdramChip):
        super().__init__(
            {
                "cke": Out(1, init=1),
                "command": Out(3, init=NOTHING),
                "ba": Out(range(chip.banks)),
                "a": Out(chip.address_bits),
                "dqm": Out(chip.data_bits // 8, init=(1 << chip.data_bits // 8) - 1),
                "dq_o": Out(chip.data_bits),
                "dq_oe": Out(1),
                "dq_i": In(chip.data_bits),
            }
        )


class SdramIo(Component):
    """Registers between the controller and the chip, which see every edge of the controller's clock.

    On a board, ``port`` is the requested resource (``platform.request("sdram", 0, dir="-")``): the registers are those
    of the I/O cells, and the clock pin follows the controller's clock by a double-data-rate output, inverted where
    ``inverted_clock``. Without ``port``, ``chip_pins`` are the registered pins for a simulated chip.

    Members
    -------
    pins : the controller's.
    chip_pins : what the chip sees; idle on a board.
    """

    def __init__(self, chip: SdramChip, port=None, inverted_clock: bool = False):
        self.port, self.inverted_clock = port, inverted_clock
        super().__init__({"pins": In(PinSignature(chip)), "chip_pins": Out(PinSignature(chip))})

    def elaborate(self, platform) -> Module:
        """Flip-flops of the fabric, or of the pins."""
        m = Module()
        if self.port is None:
            for name in ("cke", "command", "ba", "a", "dqm", "dq_o", "dq_oe"):
                m.d.sync += getattr(self.chip_pins, name).eq(getattr(self.pins, name))
            m.d.sync += self.pins.dq_i.eq(self.chip_pins.dq_i)
        else:
            self._board(m)
        return m

    def _board(self, m: Module) -> None:
        """I/O cells; ports of the resource invert active-low pins, so RAS, CAS and WE go out high when asserted."""
        pins, port = self.pins, self.port
        asserted = {"ras": ~pins.command[2], "cas": ~pins.command[1], "we": ~pins.command[0]}
        asserted |= {"ba": pins.ba, "a": pins.a, "dqm": pins.dqm, "clk_en": pins.cke, "cs": Const(1)}
        for name, value in asserted.items():
            if hasattr(port, name):
                m.submodules[name] = buffer = io.FFBuffer("o", getattr(port, name))
                m.d.comb += buffer.o.eq(value)
        m.submodules.dq = data = io.FFBuffer("io", port.dq)
        m.d.comb += [data.o.eq(pins.dq_o), data.oe.eq(pins.dq_oe), pins.dq_i.eq(data.i)]
        m.submodules.clk = clock = io.DDRBuffer("o", port.clk)
        m.d.comb += [clock.o[0].eq(not self.inverted_clock), clock.o[1].eq(self.inverted_clock)]
