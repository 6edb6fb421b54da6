"""The top level of every board: clock, reset after configuration, UART and link around a core."""

from amaranth import ClockDomain, ClockSignal, Module, ResetSignal, Signal
from amaranth.lib.wiring import Component, In, Out, connect

from hw.boards.link import Link
from hw.boards.uart import UartReceiver, UartTransmitter
from hw.config import ArrayConfig

__all__ = ["BAUD", "TOP_NAME", "BoardTop"]

BAUD = 1_000_000
TOP_NAME = "tritforge_top"
_RESET_EDGES = 15  # after configuration


class BoardTop(Component):
    """A core behind a UART, for any board with a clock, a serial line and one LED; resets itself after configuration.

    Members
    -------
    clk : the board's clock.
    rx, tx : serial line at ``BAUD``.
    led : lit while a GEMM runs.
    """

    def __init__(self, config: ArrayConfig, clock_hz: float):
        self.config, self.divisor = config, round(clock_hz / BAUD)
        super().__init__({"clk": In(1), "rx": In(1), "tx": Out(1), "led": Out(1)})

    def elaborate(self, platform) -> Module:
        """Clock domain with its reset, UART, link."""
        m = Module()
        m.domains.sync = ClockDomain()
        m.domains.start = ClockDomain(reset_less=True)
        waited = Signal(range(_RESET_EDGES + 1))
        with m.If(waited != _RESET_EDGES):
            m.d.start += waited.eq(waited + 1)
        m.d.comb += [
            ClockSignal("sync").eq(self.clk),
            ClockSignal("start").eq(self.clk),
            ResetSignal("sync").eq(waited != _RESET_EDGES),
        ]
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.link = link = Link(self.config)
        connect(m, receiver.bytes, link.received)
        connect(m, link.sent, transmitter.bytes)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            link.lost.eq(receiver.overrun),
            self.led.eq(link.running),
        ]
        return m
