"""A UART of 8 data bits, no parity, one stop bit, as byte streams."""

from amaranth import Cat, Const, Module, Signal
from amaranth.lib import stream
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import Component, In, Out

__all__ = ["UartReceiver", "UartTransmitter"]

_FRAME_BITS = 10  # start, eight data bits with the lowest first, stop


class UartTransmitter(Component):
    """Send bytes, ``divisor`` clock cycles per bit.

    Members
    -------
    bytes : what to send; ready while no frame is under way.
    tx : the line, high when idle.
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"bytes": In(stream.Signature(8)), "tx": Out(1, init=1)})

    def elaborate(self, platform) -> Module:
        """A shift register of the frame and a counter of its bits."""
        m = Module()
        timer = Signal(range(self.divisor))
        left = Signal(range(_FRAME_BITS + 1))
        frame = Signal(_FRAME_BITS, init=-1)
        m.d.comb += [self.tx.eq(frame[0]), self.bytes.ready.eq(left == 0)]
        with m.If(left == 0):
            with m.If(self.bytes.valid):
                m.d.sync += [frame.eq(Cat(Const(0, 1), self.bytes.payload, Const(1, 1)))]
                m.d.sync += [left.eq(_FRAME_BITS), timer.eq(self.divisor - 1)]
        with m.Elif(timer == 0):
            m.d.sync += [frame.eq(Cat(frame[1:], Const(1, 1))), left.eq(left - 1), timer.eq(self.divisor - 1)]
        with m.Else():
            m.d.sync += timer.eq(timer - 1)
        return m


class UartReceiver(Component):
    """Receive bytes, ``divisor`` clock cycles per bit; a frame without its stop bit is dropped.

    Members
    -------
    rx : the line, asynchronous.
    bytes : what came; holds one byte.
    overrun : pulse: a byte came while the one before was still waiting, which is lost.
    """

    def __init__(self, divisor: int):
        self.divisor = divisor
        super().__init__({"rx": In(1, init=1), "bytes": Out(stream.Signature(8)), "overrun": Out(1)})

    def elaborate(self, platform) -> Module:
        """Find the start bit's middle, then sample once per bit."""
        m = Module()
        rx = Signal(init=1)
        m.submodules += FFSynchronizer(self.rx, rx, init=1)
        timer = Signal(range(self.divisor))
        left = Signal(range(_FRAME_BITS + 1))
        frame = Signal(_FRAME_BITS)
        with m.If(self.bytes.valid & self.bytes.ready):
            m.d.sync += self.bytes.valid.eq(0)
        with m.If(left == 0):
            with m.If(~rx):
                m.d.sync += [left.eq(_FRAME_BITS), timer.eq(self.divisor // 2)]
        with m.Elif(timer != 0):
            m.d.sync += timer.eq(timer - 1)
        with m.Else():
            m.d.sync += [timer.eq(self.divisor - 1), left.eq(left - 1), frame.eq(Cat(frame[1:], rx))]
            with m.If((left == _FRAME_BITS) & rx):
                m.d.sync += left.eq(0)  # a glitch, not a start bit
            with m.If((left == 1) & rx):
                m.d.sync += [self.bytes.payload.eq(frame[2:]), self.bytes.valid.eq(1)]
                m.d.comb += self.overrun.eq(self.bytes.valid & ~self.bytes.ready)
        return m
