"""Frames on byte streams: the receiver checks and holds one whole frame, the sender makes an answer of a buffer."""

from collections.abc import Iterator
from contextlib import contextmanager

from amaranth import Cat, Module, Signal
from amaranth.lib import stream
from amaranth.lib.crc.catalog import CRC16_IBM_3740
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.host.protocol import ANSWER, MAGIC, PAYLOAD_BYTES

__all__ = ["FrameReceiver", "FrameSender"]

_LENGTH = range(PAYLOAD_BYTES + 1)
_ADDRESS = range(PAYLOAD_BYTES)


class FrameReceiver(Component):
    """Collect one frame of ``hw/host/protocol.py`` and hold it until ``done``; nothing of it is used unchecked.

    A frame that stops for ``gap_cycles`` clock cycles, that is too long, or whose CRC is wrong is held as ``damaged``.

    Members
    -------
    bytes : from the line; ready while no frame is held.
    valid : a frame is held.
    damaged : it must not be used.
    kind, sequence, length : its header.
    address, data : read port of its payload; ``data`` follows ``address`` by two edges.
    done : let it go.
    """

    def __init__(self, gap_cycles: int):
        self.gap_cycles = gap_cycles
        super().__init__(
            {
                "bytes": In(stream.Signature(8)),
                "valid": Out(1),
                "damaged": Out(1),
                "kind": Out(8),
                "sequence": Out(8),
                "length": Out(_LENGTH),
                "address": In(_ADDRESS),
                "data": Out(8),
                "done": In(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """One state per field of the frame, a timer over the gaps."""
        m = Module()
        m.submodules.crc = crc = CRC16_IBM_3740().create()
        m.submodules.payload = payload = Memory(shape=8, depth=PAYLOAD_BYTES, init=[])
        write, read = payload.write_port(), payload.read_port()
        taken = Signal()
        inside = Signal()
        byte = self.bytes.payload
        left = Signal(_LENGTH)
        gap = Signal(range(self.gap_cycles + 1))
        length = Signal(16)
        m.d.comb += [
            self.bytes.ready.eq(1),
            taken.eq(self.bytes.valid & self.bytes.ready),
            crc.data.eq(byte),
            crc.valid.eq(taken & inside),
            length.eq(Cat(self.length[:8], byte)),
            read.addr.eq(self.address),
            read.en.eq(1),
            write.addr.eq(self.length - left),
            write.data.eq(byte),
        ]
        m.d.sync += self.data.eq(read.data)  # a register behind the block RAM, which is as slow as many tables
        with m.If(taken | ~inside):
            m.d.sync += gap.eq(0)
        with m.Else():
            m.d.sync += gap.eq(gap + 1)

        @contextmanager
        def field(name: str) -> Iterator[None]:
            """A state that waits for one byte: what follows it is done when the byte comes."""
            with m.State(name):
                m.d.comb += inside.eq(1)
                with m.If(taken):
                    yield
                with m.Elif(gap == self.gap_cycles):
                    m.d.sync += self.damaged.eq(1)
                    m.next = "held"

        with m.FSM():
            with m.State("start"):
                m.d.comb += crc.start.eq(1)
                with m.If(taken & (byte == MAGIC)):
                    m.next = "kind"
            with field("kind"):
                m.d.sync += self.kind.eq(byte)
                m.next = "sequence"
            with field("sequence"):
                m.d.sync += self.sequence.eq(byte)
                m.next = "length low"
            with field("length low"):
                m.d.sync += self.length.eq(byte)
                m.next = "length high"
            with field("length high"):
                m.d.sync += [self.length.eq(length), left.eq(length)]
                m.next = "payload"
                with m.If(length == 0):
                    m.next = "crc high"
                with m.Elif(length > PAYLOAD_BYTES):
                    m.d.sync += self.damaged.eq(1)
                    m.next = "held"
            with field("payload"):
                m.d.comb += write.en.eq(1)
                m.d.sync += left.eq(left - 1)
                with m.If(left == 1):
                    m.next = "crc high"
            with field("crc high"):
                m.next = "crc low"
            with field("crc low"):
                m.next = "check"
            with m.State("check"):
                m.d.comb += self.bytes.ready.eq(0)
                m.d.sync += self.damaged.eq(~crc.match_detected)
                m.next = "held"
            with m.State("held"):
                m.d.comb += [self.valid.eq(1), self.bytes.ready.eq(0)]
                with m.If(self.done):
                    m.d.sync += self.damaged.eq(0)
                    m.next = "start"
        return m


class FrameSender(Component):
    """Send one answer: header, code, ``length`` bytes of a buffer, CRC.

    Members
    -------
    start : send it; ignored while ``busy``.
    kind, sequence : of the request; must stay while ``busy``, like ``code`` and ``length``.
    code : first byte of the payload.
    length : bytes behind the code.
    address, data : read port of the buffer; ``data`` follows ``address`` by two edges.
    bytes : to the line.
    busy : an answer is on its way.
    """

    def __init__(self):
        super().__init__(
            {
                "start": In(1),
                "kind": In(8),
                "sequence": In(8),
                "code": In(8),
                "length": In(_ADDRESS),
                "address": Out(_ADDRESS),
                "data": In(8),
                "bytes": Out(stream.Signature(8)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Header by number, then three edges per byte of the buffer, then the CRC."""
        m = Module()
        m.submodules.crc = crc = CRC16_IBM_3740().create()
        length = Signal(16)
        m.d.comb += length.eq(self.length + 1)
        header = (MAGIC, self.kind | ANSWER, self.sequence, length[:8], length[8:], self.code)
        number = Signal(range(len(header)))
        sent = Signal()
        m.d.comb += [
            self.busy.eq(1),
            sent.eq(self.bytes.valid & self.bytes.ready),
            crc.data.eq(self.bytes.payload),
        ]
        with m.FSM():
            with m.State("idle"):
                m.d.comb += [self.busy.eq(0), crc.start.eq(1)]
                m.d.sync += [number.eq(0), self.address.eq(0)]
                with m.If(self.start):
                    m.next = "header"
            with m.State("header"):
                m.d.comb += [self.bytes.valid.eq(1), crc.valid.eq(sent & (number != 0))]
                with m.Switch(number):
                    for index, value in enumerate(header):
                        with m.Case(index):
                            m.d.comb += self.bytes.payload.eq(value)
                with m.If(sent):
                    m.d.sync += number.eq(number + 1)
                    with m.If(number == len(header) - 1):
                        m.next = "fetch"
            with m.State("fetch"):
                m.next = "settle"
                with m.If(self.address == self.length):
                    m.next = "crc high"
            with m.State("settle"):
                m.next = "data"
            with m.State("data"):
                m.d.comb += [self.bytes.payload.eq(self.data), self.bytes.valid.eq(1), crc.valid.eq(sent)]
                with m.If(sent):
                    m.d.sync += self.address.eq(self.address + 1)
                    m.next = "fetch"
            with m.State("crc high"):
                m.d.comb += [self.bytes.payload.eq(crc.crc[8:]), self.bytes.valid.eq(1)]
                with m.If(sent):
                    m.next = "crc low"
            with m.State("crc low"):
                m.d.comb += [self.bytes.payload.eq(crc.crc[:8]), self.bytes.valid.eq(1)]
                with m.If(sent):
                    m.next = "idle"
        return m
