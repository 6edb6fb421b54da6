"""AXI4 masters that read a packet out of memory, or write one into it: bursts of 16 words that cross no 4 KiB.

Ref: Arm IHI 0022, section A3.4 (bursts; at most 16 beats, so that AXI3 ports take them too).
"""

from collections.abc import Callable

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.fifo import SyncFIFOBuffered
from amaranth.lib.wiring import Component, In, Member, Out

from hw.gateware.bus.gearbox import Gearbox

__all__ = ["ADDRESS_BITS", "WORD_BITS", "DmaReader", "DmaWriter", "read_members", "write_members"]

WORD_BITS = 64  # of the memory's bus
ADDRESS_BITS = 64
_WORD_BYTES = WORD_BITS // 8
_BURST = 16  # words
_DEPTH = 2 * _BURST  # words that are asked for and not used yet
_PAGE_WORDS = 4096 // _WORD_BYTES
_COUNT_BITS = 32  # of a packet's bytes
_INCREMENT, _BUFFERABLE = 0b01, 0b0011  # burst type and cache attributes: normal memory, not cached


def read_members(prefix: str = "") -> dict[str, Member]:
    """A read master's ports."""
    address = {"araddr": Out(ADDRESS_BITS), **_burst_members("ar"), "arvalid": Out(1), "arready": In(1)}
    data = {"rid": In(1), "rdata": In(WORD_BITS), "rresp": In(2), "rlast": In(1), "rvalid": In(1), "rready": Out(1)}
    return {prefix + name: member for name, member in (address | data).items()}


def write_members(prefix: str = "") -> dict[str, Member]:
    """A write master's ports."""
    address = {"awaddr": Out(ADDRESS_BITS), **_burst_members("aw"), "awvalid": Out(1), "awready": In(1)}
    data = {"wdata": Out(WORD_BITS), "wstrb": Out(_WORD_BYTES), "wlast": Out(1), "wvalid": Out(1), "wready": In(1)}
    answer = {"bid": In(1), "bresp": In(2), "bvalid": In(1), "bready": Out(1)}
    return {prefix + name: member for name, member in (address | data | answer).items()}


def _burst_members(channel: str) -> dict[str, Member]:
    bits = {"id": 1, "len": 8, "size": 3, "burst": 2, "cache": 4, "prot": 3}
    return {f"{channel}{name}": Out(width) for name, width in bits.items()}


class _Engine(Component):
    """What reader and writer share: a packet's address and size, and how far it is.

    Members
    -------
    start, address, bytes : this edge takes up a packet of so many bytes at a byte address.
    stop : give the packet up; bursts that memory has been asked for are still brought to their end.
    busy : a packet is under way, or being given up.
    error : memory answered with an error; unaligned : the address is no multiple of a word. Both stay until ``start``
        or ``stop``; the packet is given up, or not taken up.
    """

    def __init__(self, members: dict[str, Member]):
        control = {"start": In(1), "stop": In(1), "address": In(ADDRESS_BITS), "bytes": In(_COUNT_BITS)}
        super().__init__(members | control | {name: Out(1) for name in ("busy", "error", "unaligned")})

    def _begin(self, m: Module) -> tuple[Signal, Signal, Signal]:
        """Registers of the next burst: the word's address, words that are left, and the length of the burst."""
        place, words, length = Signal(ADDRESS_BITS - 3), Signal(_COUNT_BITS - 2), Signal(range(_BURST + 1))
        with m.If(self.start):
            m.d.sync += [
                place.eq(self.address[3:]),
                words.eq((self.bytes + _WORD_BYTES - 1) >> 3),
                self.error.eq(0),
                self.unaligned.eq(self.address[:3].any()),
            ]
        with m.If(self.stop):
            m.d.sync += [self.error.eq(0), self.unaligned.eq(0)]
        return place, words, length

    def _idle(self, m: Module, giving_up: Signal) -> None:
        """The state of that name: a packet that can be taken up is planned."""
        with m.State("idle"):
            m.d.sync += giving_up.eq(0)
            with m.If(self.start & (self.bytes != 0) & ~self.address[:3].any()):
                m.next = "plan"

    def _end(self, m: Module, ongoing: Callable[[str], Value], refused: Value, giving_up: Signal) -> None:
        """``busy``, and the packet given up at a stop, or where memory has ``refused`` a word of it.

        ``ongoing``: of the engine's states.
        """
        m.d.comb += self.busy.eq(~ongoing("idle"))
        failed = refused & ~giving_up & ~self.stop
        with m.If(failed):
            m.d.sync += self.error.eq(1)
        with m.If(self.busy & ~ongoing("drain") & (self.stop | failed)):
            m.d.sync += giving_up.eq(1)

    def _ask(self, m: Module, channel: str, place: Value, length: Value) -> None:
        """The address channel's constants and the burst that it asks for."""
        fields = {"id": 0, "size": 3, "burst": _INCREMENT, "cache": _BUFFERABLE, "prot": 0, "len": (length - 1)[:8]}
        m.d.comb += [getattr(self, f"{channel}{name}").eq(value) for name, value in fields.items()]
        m.d.comb += getattr(self, f"{channel}addr").eq(Cat(Const(0, 3), place))


def _burst_length(place: Value, words: Value) -> Value:
    """As many words as are left, as a burst has, and as lie before the next 4 KiB."""
    page = _PAGE_WORDS - place[: _PAGE_WORDS.bit_length() - 1]
    least = Mux(words < _BURST, words[: _BURST.bit_length()], _BURST)
    return Mux(page < least, page, least)


class DmaReader(_Engine):
    """A packet out of memory as a stream of beats.

    Space for a burst is kept before it is asked for, so that memory is never held up by the stream.

    Members
    -------
    the read channels, those of ``_Engine``, and
    o : ``beat_bytes`` bytes, then whether they are all of the packet's, then whether the beat is its last.
    """

    def __init__(self, beat_bytes: int):
        self.beat_bytes = beat_bytes
        super().__init__(read_members() | {"o": Out(stream.Signature(8 * beat_bytes + 2))})

    def elaborate(self, platform) -> Module:
        """Plan a burst, ask for it, plan the next; what comes goes through the buffer and the gearbox."""
        m = Module()
        place, words, length = self._begin(m)
        m.submodules.buffer = buffer = SyncFIFOBuffered(width=WORD_BITS, depth=_DEPTH)
        m.submodules.gearbox = gearbox = Gearbox(_WORD_BYTES, self.beat_bytes)
        reserved, outstanding = Signal(range(_DEPTH + 1)), Signal(range(_DEPTH + 1))
        left = Signal(_COUNT_BITS)  # bytes that the stream has not seen yet
        giving_up = Signal()
        asked, came = self.arvalid & self.arready, self.rvalid & self.rready
        used = buffer.r_rdy & buffer.r_en & ~giving_up
        self._ask(m, "ar", place, length)
        m.d.comb += [
            self.rready.eq(1),
            buffer.w_data.eq(self.rdata),
            buffer.w_en.eq(self.rvalid & ~giving_up),
            buffer.r_en.eq(gearbox.i.ready | giving_up),
            gearbox.i.valid.eq(buffer.r_rdy & ~giving_up),
            gearbox.i.payload.eq(buffer.r_data),
            gearbox.clear.eq(giving_up | self.start),
            gearbox.flush.eq((words == 0) & (reserved == 0)),
            gearbox.o.ready.eq(self.o.ready & (left != 0)),
            self.o.valid.eq(gearbox.o.valid & (left != 0) & ~giving_up),
            self.o.payload.eq(Cat(gearbox.o.payload, left >= self.beat_bytes, left <= self.beat_bytes)),
        ]
        m.d.sync += [
            reserved.eq(reserved + Mux(asked, length, 0) - used),
            outstanding.eq(outstanding + Mux(asked, length, 0) - came),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += left.eq(Mux(left <= self.beat_bytes, 0, left - self.beat_bytes))
        with m.If(self.start):
            m.d.sync += left.eq(self.bytes)
        with m.FSM() as machine:
            self._idle(m, giving_up)
            with m.State("plan"):
                m.d.sync += length.eq(_burst_length(place, words))
                with m.If(giving_up):
                    m.next = "drain"
                with m.Elif(words == 0):
                    m.next = "deliver"
                with m.Elif(reserved + _burst_length(place, words) <= _DEPTH):
                    m.next = "ask"
            with m.State("ask"):
                m.d.comb += self.arvalid.eq(1)
                with m.If(self.arready):
                    m.d.sync += [place.eq(place + length), words.eq(words - length)]
                    m.next = "plan"
            with m.State("deliver"):
                with m.If(giving_up):
                    m.next = "drain"
                with m.Elif(left == 0):
                    m.next = "idle"
            with m.State("drain"):
                with m.If((outstanding == 0) & (buffer.level == 0)):
                    m.d.sync += [giving_up.eq(0), reserved.eq(0), left.eq(0)]
                    m.next = "idle"
        self._end(m, machine.ongoing, came & self.rresp[1], giving_up)
        return m


class DmaWriter(_Engine):
    """A packet of beats into memory; of the last word only the bytes of the packet are written.

    A burst is asked for when its words are there. ``busy`` ends with memory's last answer.

    Members
    -------
    the write channels, those of ``_Engine``, and
    i : ``beat_bytes`` bytes.
    """

    def __init__(self, beat_bytes: int):
        self.beat_bytes = beat_bytes
        super().__init__(write_members() | {"i": In(stream.Signature(8 * beat_bytes))})

    def elaborate(self, platform) -> Module:
        """Plan a burst, wait for its words, ask, send, wait for the answer."""
        m = Module()
        place, words, length = self._begin(m)
        m.submodules.gearbox = gearbox = Gearbox(self.beat_bytes, _WORD_BYTES)
        m.submodules.buffer = buffer = SyncFIFOBuffered(width=WORD_BITS, depth=_DEPTH)
        awaited = Signal(_COUNT_BITS)  # bytes of the stream that have not come yet
        left = Signal(_COUNT_BITS)  # bytes that have not been sent yet
        sent = Signal(range(_BURST + 1))
        giving_up = Signal()
        strobes = Cat(left > byte for byte in range(_WORD_BYTES))
        self._ask(m, "aw", place, length)
        m.d.comb += [
            gearbox.i.payload.eq(self.i.payload),
            gearbox.i.valid.eq(self.i.valid & (awaited != 0)),
            self.i.ready.eq(gearbox.i.ready & (awaited != 0)),
            gearbox.flush.eq(awaited == 0),
            gearbox.clear.eq(giving_up | self.start),
            gearbox.o.ready.eq(buffer.w_rdy),
            buffer.w_en.eq(gearbox.o.valid & ~giving_up),
            buffer.w_data.eq(gearbox.o.payload),
            self.wdata.eq(buffer.r_data),
            self.wstrb.eq(strobes),
            self.wlast.eq(sent == length - 1),
            self.bready.eq(1),
        ]
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += awaited.eq(Mux(awaited <= self.beat_bytes, 0, awaited - self.beat_bytes))
        with m.If(self.start):
            m.d.sync += [awaited.eq(self.bytes), left.eq(self.bytes)]
        with m.FSM() as machine:
            self._idle(m, giving_up)
            with m.State("plan"):
                m.d.sync += [length.eq(_burst_length(place, words)), sent.eq(0)]
                with m.If(giving_up):
                    m.next = "drain"
                with m.Elif(words == 0):  # what the last beat held beyond the packet is dropped
                    m.d.sync += giving_up.eq(1)
                    m.next = "drain"
                with m.Else():
                    m.next = "gather"
            with m.State("gather"):
                with m.If(giving_up):
                    m.next = "drain"
                with m.Elif(buffer.level >= length):
                    m.next = "ask"
            with m.State("ask"):
                m.d.comb += self.awvalid.eq(1)
                with m.If(self.awready):
                    m.d.sync += [place.eq(place + length), words.eq(words - length)]
                    m.next = "send"
            with m.State("send"):
                m.d.comb += [self.wvalid.eq(buffer.r_rdy), buffer.r_en.eq(self.wready)]
                with m.If(self.wvalid & self.wready):
                    m.d.sync += [sent.eq(sent + 1), left.eq(Mux(left <= _WORD_BYTES, 0, left - _WORD_BYTES))]
                    with m.If(self.wlast):
                        m.next = "answer"
            with m.State("answer"):
                with m.If(self.bvalid):
                    m.next = "plan"
            with m.State("drain"):
                m.d.comb += buffer.r_en.eq(1)
                with m.If(buffer.level == 0):
                    m.d.sync += [giving_up.eq(0), awaited.eq(0), left.eq(0)]
                    m.next = "idle"
        self._end(m, machine.ongoing, machine.ongoing("answer") & self.bvalid & self.bresp[1], giving_up)
        return m
