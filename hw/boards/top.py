"""The top level of a board: its pins, its clock, the device."""

from amaranth import ClockDomain, Module
from amaranth.lib.wiring import Component, In, Out

from hw.boards.catalog import Board
from hw.boards.clock import Clock
from hw.boards.device import Device
from hw.boards.link import Buffers
from hw.config import ArrayConfig
from hw.host.protocol import BAUD
from hw.synthesis.families import FAMILIES

__all__ = ["TOP_NAME", "BoardTop"]

TOP_NAME = "tritforge_top"


class BoardTop(Component):
    """A core behind a serial line on a board.

    Members
    -------
    clk : the board's clock, where the board has one.
    rx, tx : serial line at ``BAUD``.
    led : lit while a GEMM runs.

    Raises
    ------
    InputError
        See ``Device`` and ``hw.boards.clock.pll_settings``.
    """

    def __init__(self, board: Board, config: ArrayConfig, led_inverted: bool = False):
        self.board, self.led_inverted = board, led_inverted
        self.device = Device(config, board.clock_hz, BAUD, Buffers(), FAMILIES[board.family].cells)
        clock = {"clk": In(1)} if "clk" in board.ports else {}
        super().__init__({**clock, "rx": In(1), "tx": Out(1), "led": Out(1)})

    def elaborate(self, platform) -> Module:
        """Clock and device, wired to the pins."""
        m = Module()
        m.submodules.clock = clock = Clock(self.board)
        m.domains.sync = ClockDomain(reset_less=clock.gated)
        m.submodules.device = device = self.device
        if "clk" in self.board.ports:
            m.d.comb += clock.pin.eq(self.clk)
        m.d.comb += [
            device.rx.eq(self.rx),
            self.tx.eq(device.tx),
            self.led.eq(~device.led if self.led_inverted else device.led),
        ]
        return m
