"""HostAccess: the host's way into memory while the machine is held: words in, and the check sum of what lies there."""

from amaranth import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.crc.catalog import CRC32_ISO_HDLC
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.whole.ports import ADDRESS_BITS, COUNT_BITS, request_layout, write_layout
from hw.host.whole.protocol import PATIENCE_BITS
from hw.program.machine import MachineConfig

__all__ = ["HostAccess"]

_PIECE_BITS = 32


class HostAccess(Component):
    """Writes memory words that come in pieces of 32 bits, and computes the CRC-32 of a stretch, a byte per edge.

    The piece with ``first`` is the address of the memory word that begins with the next one. A memory that takes or
    gives nothing for ``2**patience_bits`` edges raises ``silent``; all that follows is then dropped, so that a host is
    always answered.

    Members
    -------
    pieces, first : what to write.
    check : first memory word and number of words, 32 bits each.
    request, words, writes : the memory port.
    checking, crc : a check sum is being computed; the latest one.
    silent : memory did not answer; stays until reset.
    """

    def __init__(self, machine: MachineConfig, patience_bits: int = PATIENCE_BITS):
        self.machine, self.patience_bits = machine, patience_bits
        bits = machine.array.weight_bus_bits
        super().__init__(
            {
                "pieces": In(stream.Signature(_PIECE_BITS)),
                "first": In(1),
                "check": In(stream.Signature(2 * _PIECE_BITS)),
                "request": Out(stream.Signature(request_layout())),
                "words": In(stream.Signature(bits)),
                "writes": Out(stream.Signature(write_layout(machine.array.weight_bus_bits))),
                "checking": Out(1),
                "crc": Out(32),
                "silent": Out(1),
            }
        )

    def elaborate(self, platform) -> Module:
        """Gather a word and write it; or ask for a burst and shift its words through the check sum."""
        m = Module()
        bits, parts = self.machine.array.weight_bus_bits, self.machine.array.weight_bus_bits // _PIECE_BITS
        m.submodules.crc = crc = CRC32_ISO_HDLC().create()
        word = Signal(bits)
        address, left = Signal(ADDRESS_BITS), Signal(COUNT_BITS)
        part, byte = Signal(range(max(2, parts))), Signal(range(bits // 8))
        waited, waiting = Signal(self.patience_bits), Signal()
        request, write = self.request.payload, self.writes.payload
        m.d.comb += [
            request.address.eq(address),
            request.count.eq(left),
            write.address.eq(address),
            write.data.eq(word),
            write.mask.eq((1 << bits // 8) - 1),
            crc.data.eq(word[:8]),
            self.crc.eq(crc.crc),
        ]
        m.d.sync += waited.eq(Mux(waiting, waited + 1, 0))

        def give_up() -> None:
            with m.Elif(waited.all()):
                m.d.sync += self.silent.eq(1)
                m.next = "IDLE"

        with m.FSM() as sequence:
            with m.State("IDLE"):
                m.d.comb += [self.pieces.ready.eq(1), self.check.ready.eq(~self.pieces.valid)]
                with m.If(self.pieces.valid & self.first):
                    m.d.sync += [address.eq(self.pieces.payload), part.eq(0)]
                with m.Elif(self.pieces.valid):
                    m.d.sync += [word.eq(Cat(word, self.pieces.payload)[_PIECE_BITS:]), part.eq(part + 1)]
                    with m.If((part == parts - 1) & ~self.silent):
                        m.next = "WRITE"
                with m.Elif(self.check.valid):
                    m.d.comb += crc.start.eq(1)
                    m.d.sync += [
                        address.eq(self.check.payload[:_PIECE_BITS]),
                        left.eq(self.check.payload[_PIECE_BITS:]),
                    ]
                    with m.If((self.check.payload[_PIECE_BITS:] != 0) & ~self.silent):
                        m.next = "ASK"
            with m.State("WRITE"):
                m.d.comb += [self.writes.valid.eq(1), waiting.eq(~self.writes.ready)]
                with m.If(self.writes.ready):
                    m.d.sync += [address.eq(address + 1), part.eq(0)]
                    m.next = "IDLE"
                give_up()
            with m.State("ASK"):
                m.d.comb += [self.request.valid.eq(1), waiting.eq(~self.request.ready)]
                with m.If(self.request.ready):
                    m.next = "TAKE"
                give_up()
            with m.State("TAKE"):
                m.d.comb += [self.words.ready.eq(1), waiting.eq(~self.words.valid)]
                with m.If(self.words.valid):
                    m.d.sync += [word.eq(self.words.payload), byte.eq(bits // 8 - 1), left.eq(left - 1)]
                    m.next = "SUM"
                give_up()
            with m.State("SUM"):
                m.d.comb += crc.valid.eq(1)
                m.d.sync += [word.eq(word[8:]), byte.eq(byte - 1)]
                with m.If(byte == 0):
                    m.next = "TAKE"
                    with m.If(left == 0):
                        m.next = "IDLE"
        m.d.comb += self.checking.eq(Cat(sequence.ongoing(name) for name in ("ASK", "TAKE", "SUM")).any())
        return m
