"""An AXI4-Lite register file: 32-bit words, one access at a time, a fault answered by SLVERR."""

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out

__all__ = ["AxiLiteRegisters", "axi_lite_members"]

_OKAY, _SLVERR = 0b00, 0b10


def axi_lite_members(address_bits: int, prefix: str = "") -> dict[str, object]:
    """Members of a subordinate's AXI4-Lite port, named as stock IP expects, 32 data bits.

    Ref: Arm IHI 0022, AXI4-Lite, section B1.
    """
    members = {
        "awaddr": In(address_bits),
        "awprot": In(3),
        "awvalid": In(1),
        "awready": Out(1),
        "wdata": In(32),
        "wstrb": In(4),
        "wvalid": In(1),
        "wready": Out(1),
        "bresp": Out(2),
        "bvalid": Out(1),
        "bready": In(1),
        "araddr": In(address_bits),
        "arprot": In(3),
        "arvalid": In(1),
        "arready": Out(1),
        "rdata": Out(32),
        "rresp": Out(2),
        "rvalid": Out(1),
        "rready": In(1),
    }
    return {prefix + name: member for name, member in members.items()}


class AxiLiteRegisters(Component):
    """Turns bus accesses into one write pulse or one read of a table of words.

    ``words``: number of 32-bit registers; the address bus is as wide as they need.

    Members
    -------
    the AXI4-Lite port, and
    write, index, data : this edge writes ``data`` to word ``index``; writes must come with all four strobes.
    refuse : combinational answer to ``write``: the word cannot be written now.
    values : all words, as they read.
    """

    def __init__(self, words: int):
        self.words = words
        self.address_bits = (words - 1).bit_length() + 2
        super().__init__(
            axi_lite_members(self.address_bits)
            | {
                "write": Out(1),
                "index": Out(range(words)),
                "data": Out(32),
                "refuse": In(1),
                "values": In(32 * words),
            }
        )

    def elaborate(self, platform) -> Module:
        """A write takes address and data together and answers on the next edge; so does a read."""
        m = Module()
        take_write = Signal()
        take_read = Signal()
        write_fault = self._fault(self.awaddr) | (self.wstrb != 0b1111)
        m.d.comb += [
            take_write.eq(self.awvalid & self.wvalid & ~self.bvalid),
            self.awready.eq(take_write),
            self.wready.eq(take_write),
            self.write.eq(take_write & ~write_fault),
            self.index.eq(self.awaddr[2:]),
            self.data.eq(self.wdata),
            take_read.eq(self.arvalid & ~self.rvalid),
            self.arready.eq(take_read),
        ]
        with m.If(take_write):
            m.d.sync += [self.bvalid.eq(1), self.bresp.eq(_response(write_fault | self.refuse))]
        with m.Elif(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(take_read):
            m.d.sync += [
                self.rvalid.eq(1),
                self.rresp.eq(_response(self._fault(self.araddr))),
                self.rdata.eq(self.values.word_select(self.araddr[2:], 32)),
            ]
        with m.Elif(self.rready):
            m.d.sync += self.rvalid.eq(0)
        return m

    def _fault(self, address: Value) -> Value:
        """Unaligned, or beyond the last word."""
        return (address[:2] != 0) | (address[2:] >= self.words)


def _response(fault: Value) -> Value:
    """SLVERR or OKAY."""
    return Cat(Const(0, 1), fault)
