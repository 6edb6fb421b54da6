"""What every board holds: a UART, the link behind it, one LED; no pins, no clock of its own."""

from amaranth import Module
from amaranth.lib.wiring import Component, In, Out, connect

from hw.arithmetic.adders import Cells
from hw.boards.link import Buffers, Link
from hw.boards.uart import UartReceiver, UartTransmitter
from hw.config import ArrayConfig
from hw.errors import InputError

__all__ = ["Device"]

GAP_S = 0.1  # a frame that pauses longer is given up; a USB adapter pauses up to 16 ms
_LEAST_DIVISOR = 8  # clock cycles per bit, so that half a cycle of jitter is no fault


class Device(Component):
    """A core behind a serial line of 8 data bits, no parity, one stop bit; ``clock_hz`` is that of domain ``sync``.

    Members
    -------
    rx, tx : the line.
    led : lit while a GEMM runs.

    Raises
    ------
    InputError
        The clock is too slow for ``baud``, or a word of the array does not fit a frame.
    """

    def __init__(
        self, config: ArrayConfig, clock_hz: float, baud: int, buffers: Buffers, cells: Cells, gap_s: float = GAP_S
    ):
        self.divisor = round(clock_hz / baud)
        if self.divisor < _LEAST_DIVISOR:
            raise InputError(f"baud must be at most {clock_hz / _LEAST_DIVISOR:g} at {clock_hz:g} Hz, not {baud}")
        self.link = Link(config, clock_hz, round(gap_s * clock_hz), buffers, cells)
        super().__init__({"rx": In(1, init=1), "tx": Out(1, init=1), "led": Out(1)})

    def elaborate(self, platform) -> Module:
        """The three blocks, wired."""
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.divisor)
        m.submodules.transmitter = transmitter = UartTransmitter(self.divisor)
        m.submodules.link = link = self.link
        connect(m, receiver.bytes, link.received)
        connect(m, link.sent, transmitter.bytes)
        m.d.comb += [
            receiver.rx.eq(self.rx),
            self.tx.eq(transmitter.tx),
            link.lost.eq(receiver.overrun),
            self.led.eq(link.running),
        ]
        return m
