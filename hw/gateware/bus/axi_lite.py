"""An AXI4-Lite register file: 32-bit words, one access at a time, a fault answered by SLVERR."""

from amaranth import Cat, Const, Module, Signal, Value
from amaranth.lib.wiring import Component, In, Out

__all__ = ["AxiLiteRegisters", "address_bits", "axi_lite_members"]

_OKAY, _SLVERR = 0b00, 0b10


def address_bits(words: int) -> int:
    """Bits of a byte address of ``words`` registers of 32 bits."""
    return (words - 1).bit_length() + 2


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

    ``words``: number of 32-bit registers; the address bus is as wide as they need. Every output of the port is a
    function of registers alone: no ready follows a valid, of its own or of another channel.

    Members
    -------
    the AXI4-Lite port, and
    write, index, data : this edge writes ``data`` to word ``index``; writes must come with all four strobes.
    refuse : combinational answer to ``write``: the word cannot be written now.
    read, read_index : this edge reads that word.
    values : all words, as they read.
    """

    def __init__(self, words: int):
        self.words = words
        self.address_bits = address_bits(words)
        super().__init__(
            axi_lite_members(self.address_bits)
            | {
                "write": Out(1),
                "index": Out(range(words)),
                "data": Out(32),
                "refuse": In(1),
                "read": Out(1),
                "read_index": Out(range(words)),
                "values": In(32 * words),
            }
        )

    def elaborate(self, platform) -> Module:
        """Addresses and data are held as they come; a write with both, or a read, answers on the edge after."""
        m = Module()
        writing = Signal()
        address_held, data_held, read_held = Signal(), Signal(), Signal()
        address, read_address = Signal.like(self.awaddr), Signal.like(self.araddr)
        strobes = Signal.like(self.wstrb)
        write_fault = self._fault(address) | (strobes != 0b1111)
        read_fault = self._fault(read_address)
        m.d.comb += [
            self.awready.eq(~address_held & ~self.bvalid),
            self.wready.eq(~data_held & ~self.bvalid),
            writing.eq(address_held & data_held),
            self.write.eq(writing & ~write_fault),
            self.index.eq(address[2:]),
            self.arready.eq(~read_held & ~self.rvalid),
            self.read.eq(read_held & ~read_fault),
            self.read_index.eq(read_address[2:]),
        ]
        with m.If(self.awvalid & self.awready):
            m.d.sync += [address_held.eq(1), address.eq(self.awaddr)]
        with m.If(self.wvalid & self.wready):
            m.d.sync += [data_held.eq(1), self.data.eq(self.wdata), strobes.eq(self.wstrb)]
        with m.If(writing):
            m.d.sync += [address_held.eq(0), data_held.eq(0), self.bvalid.eq(1)]
            m.d.sync += self.bresp.eq(_response(write_fault | self.refuse))
        with m.Elif(self.bready):
            m.d.sync += self.bvalid.eq(0)
        with m.If(self.arvalid & self.arready):
            m.d.sync += [read_held.eq(1), read_address.eq(self.araddr)]
        with m.If(read_held):
            m.d.sync += [read_held.eq(0), self.rvalid.eq(1), self.rresp.eq(_response(read_fault))]
            m.d.sync += self.rdata.eq(self.values.word_select(self.read_index, 32))
        with m.Elif(self.rready):
            m.d.sync += self.rvalid.eq(0)
        return m

    def _fault(self, address: Value) -> Value:
        """Unaligned, or beyond the last word."""
        return (address[:2] != 0) | (address[2:] >= self.words)


def _response(fault: Value) -> Value:
    """SLVERR or OKAY."""
    return Cat(Const(0, 1), fault)
