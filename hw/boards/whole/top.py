"""The top level of a board with a whole-token machine: clock, serial line, machine and link, memory and its pads."""

from typing import Any

from amaranth import ClockDomain, ClockSignal, DomainRenamer, Module, ResetInserter, ResetSignal
from amaranth.back import rtlil
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.boards.catalog import Board
from hw.boards.clock import Clock
from hw.boards.device import GAP_S
from hw.boards.top import TOP_NAME
from hw.boards.uart import UartReceiver, UartTransmitter
from hw.boards.whole.block_memory import BlockMemory
from hw.boards.whole.choice import chip_of
from hw.boards.whole.ddr3 import BoardDdr3
from hw.boards.whole.design import WholeDesign
from hw.boards.whole.link import WholeLink
from hw.boards.whole.sdram import BoardSdram, SdramPads, platform_of
from hw.boards.whole.word_register import WordRegister
from hw.errors import InputError
from hw.memory.controller import SdramController
from hw.memory.ddr3.memory import Ddr3Core, Ddr3Pads, attach
from hw.memory.ddr3.port import BurstPort
from hw.memory.fast import MEMORY_CLOCK, FastController
from hw.memory.pins import PinSignature, SdramIo

__all__ = ["WholeTop", "whole_rtlil"]


class WholeTop(Component):
    """A whole-token machine with its memory behind a serial line on a board.

    Members
    -------
    clk, rx, tx : as ``hw.boards.top.BoardTop`` has them.
    led : lit while a token is worked on.
    chip : pins of the SDRAM for a simulated chip, where the memory is one and ``simulated``; else ``pads`` has them. A
        simulated DDR3 is in the module that ``hw.memory.ddr3.core`` makes.
    memory_clk : the clock of a simulated SDRAM, where it is not the machine's.

    Raises
    ------
    InputError
        The board has no such memory, or its clock none of the rates.
    """

    def __init__(self, board: Board, design: WholeDesign, led_inverted: bool = False, simulated: bool = False):
        if "clk" not in board.ports:
            raise InputError(
                f"board {board.name} cannot hold a whole-token machine: its clock comes from the processing system"
            )
        self.board, self.design, self.led_inverted, self.simulated = board, design, led_inverted, simulated
        self.divisor = round(board.clock_hz / design.baud)
        machine, self.ddr3, self.pads = design.machine, None, None
        ports: dict[str, Any] = {"clk": In(1), "rx": In(1), "tx": Out(1), "led": Out(1)}
        self.link = WholeLink(machine, design.memory_words, board.clock_hz, round(GAP_S * board.clock_hz))
        found = chip_of(board, design)
        if isinstance(found, BoardSdram):
            kind, memory_hz = SdramController, design.memory_ratio * board.clock_hz
            if design.memory_ratio > 1:
                kind = FastController
                ports |= {MEMORY_CLOCK: In(1)} if simulated else {}
            self.memory = kind(found.chip, memory_hz, machine.array.weight_bus_bits)
            self.pads, self.cells = None if simulated else SdramPads(found), found.cells
            self.io = SdramIo(found.chip, self.pads)
            if simulated:
                ports["chip"] = Out(PinSignature(found.chip))
        elif isinstance(found, BoardDdr3):
            chip = found.chip
            self.pads = None if simulated else Ddr3Pads(chip)
            self.ddr3 = Ddr3Core(chip, board.clock_hz, self.pads)
            self.memory = BurstPort(machine.array.weight_bus_bits, chip.burst_bits, chip.address_bits)
        else:
            self.memory = BlockMemory(machine, design.memory_words)
        super().__init__(ports)

    def elaborate(self, platform) -> Module:
        """Clock, line, link and memory, wired to the pins."""
        m = Module()
        self._clock(m)
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.link = link = self.link
        m.submodules.memory = ResetInserter(link.reset)(self.memory)
        register = WordRegister(self.design.machine.array.weight_bus_bits)
        m.submodules.word_register = ResetInserter(link.reset)(register)
        connect(m, receiver.bytes, link.received)
        connect(m, link.sent, transmitter.bytes)
        connect(m, link.request, self.memory.request)
        connect(m, link.writes, self.memory.writes)
        connect(m, self.memory.words, register.input)
        connect(m, register.output, link.words)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            link.lost.eq(receiver.overrun),
            link.memory_ready.eq((self.ddr3 or self.memory).ready),
            self.led.eq(~link.running if self.led_inverted else link.running),
        ]
        if isinstance(self.memory, (SdramController, FastController)):
            m.submodules.io = DomainRenamer(self.memory.pins_domain)(self.io)
            connect(m, self.memory.pins, self.io.pins)
            if self.pads is None:
                connect(m, self.io.chip_pins, flipped(self.chip))
        if self.ddr3 is not None:
            m.submodules.ddr3 = self.ddr3
            attach(m, self.memory, self.ddr3)
        return m

    def _clock(self, m: Module) -> None:
        """Domain ``sync``, and ``memory`` where the SDRAM has a clock of its own.

        Beside a DDR3, whose PHY divides it from the chip's clock, ``sync`` comes from the generated core.
        """
        if self.ddr3 is not None and self.pads is not None:
            m.domains.sync = ClockDomain()
            m.d.comb += [
                self.ddr3.pin.eq(self.clk),
                ClockSignal("sync").eq(self.ddr3.clk),
                ResetSignal("sync").eq(self.ddr3.rst),
            ]
            return
        m.submodules.clock = clock = Clock(self.board, self.design.memory_ratio, self.simulated)
        m.domains.sync = ClockDomain(reset_less=clock.gated)
        m.d.comb += clock.pin.eq(self.clk)
        if self.design.memory_ratio > 1:
            m.domains.memory = ClockDomain(reset_less=True)
            if self.simulated:
                m.d.comb += clock.memory_pin.eq(self.memory_clk)


def whole_rtlil(board: Board, design: WholeDesign, led_inverted: bool = False, simulated: bool = False) -> str:
    """The top level as Yosys RTLIL; ``simulated``: without PLL and pads, the SDRAM's pins as plain ports.

    Raises:
        InputError: see ``WholeTop``.
    """
    top = WholeTop(board, design, led_inverted, simulated)
    if top.pads is None:
        return rtlil.convert(top, name=TOP_NAME, emit_src=False)
    ports = [top.clk, top.rx, top.tx, top.led, *top.pads.ports.values()]
    platform = None if top.ddr3 else _Pads(top.cells)
    return rtlil.convert(top, name=TOP_NAME, emit_src=False, platform=platform, ports=ports)


class _Pads:
    """What of the board's platform a top level needs: the I/O cells of its part."""

    def __init__(self, cells: str):
        self.get_io_buffer = platform_of(cells).get_io_buffer
