"""``BurstPort``: the machine's memory port (bursts of words, masked writes) on LiteDRAM's port of single bursts."""

from amaranth import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out

from hw.errors import InputError
from hw.gateware.whole.ports import COUNT_BITS, log2, request_layout, write_layout

__all__ = ["QUEUED_BURSTS", "BurstPort"]

QUEUED_BURSTS = 16  # read ahead of who takes their words; a LUT RAM of the ECP5 is as deep
_QUEUED_REQUESTS = 4  # whose words are still to come


class BurstPort(Component):
    """Memory words, several to a burst of the chip or several bursts each, in order.

    A write is carried out before every read whose request is accepted after it. Addresses wrap at the end of the chip.
    Reset may come on any edge: reads that the core still owes are awaited and dropped, a write that it has accepted is
    carried out; for these the registers have no reset.

    Parameters
    ----------
    word_bits : a power of two.
    burst_bits : of the native port.
    address_bits : of a burst.

    Members
    -------
    request, words, writes : as ``hw.memory.controller.SdramController`` has them.
    enabled : the core may be used.
    port_* : ``hw.memory.ddr3.core.core_ports`` from the other side.
    """

    def __init__(self, word_bits: int, burst_bits: int, address_bits: int):
        if word_bits < 8 or word_bits & (word_bits - 1):
            raise InputError(f"word_bits must be a power of two from 8 on, not {word_bits}")
        self.word_bits, self.burst_bits, self.address_bits = word_bits, burst_bits, address_bits
        self.words_per_burst, self.bursts = max(1, burst_bits // word_bits), max(1, word_bits // burst_bits)
        super().__init__(
            {
                "request": In(stream.Signature(request_layout())),
                "words": Out(stream.Signature(word_bits)),
                "writes": In(stream.Signature(write_layout(word_bits))),
                "enabled": In(1),
                "port_valid": Out(1),
                "port_ready": In(1),
                "port_we": Out(1),
                "port_address": Out(address_bits),
                "port_take": In(1),
                "port_written": Out(burst_bits),
                "port_mask": Out(burst_bits // 8),
                "port_came": In(1),
                "port_words": In(burst_bits),
            }
        )

    def elaborate(self, platform) -> Module:
        """Commands out, bursts in, words out of them."""
        m = Module()
        self.usable = Signal()  # low from a reset until nothing is owed
        self._write(m)
        reads = self._read(m)
        m.d.comb += [
            self.port_we.eq(self.writing),
            self.port_valid.eq(self.enabled & (self.writing | reads)),
            self.port_address.eq(Mux(self.writing, self.write_at, self.read_at)),
        ]
        return m

    def _write(self, m: Module) -> None:
        """One word at a time: a command per burst, then its data when the core takes them."""
        slots, shift = self.words_per_burst, log2(self.words_per_burst)
        write = self.writes.payload
        self.write_at = at = Signal(self.address_bits, reset_less=True)
        width = max(self.word_bits, self.burst_bits)
        data, mask = Signal(width, reset_less=True), Signal(width // 8, reset_less=True)
        commands, bursts = (
            Signal(range(self.bursts + 1), reset_less=True, name=name) for name in ("commands", "bursts")
        )
        self.writing, self.commanded, idle = Signal(), Signal(), Signal()
        m.d.comb += [
            self.writing.eq((commands != 0) & (commands == bursts)),
            self.commanded.eq(commands == 0),  # the core keeps the order of commands
            idle.eq(bursts == 0),
            self.writes.ready.eq(self.enabled & self.usable & idle),
            self.port_written.eq(data[: self.burst_bits]),
            self.port_mask.eq(mask[: self.burst_bits // 8]),
        ]
        with m.If(self.writing & self.port_ready):
            m.d.sync += [commands.eq(commands - 1), at.eq(at + 1)]
        with m.If(self.port_take & (bursts != commands)):
            m.d.sync += bursts.eq(bursts - 1)
            if self.bursts > 1:
                m.d.sync += [data.eq(data >> self.burst_bits), mask.eq(mask >> self.burst_bits // 8)]
        with m.If(self.writes.valid & self.writes.ready):
            m.d.sync += [commands.eq(self.bursts), bursts.eq(self.bursts), at.eq(self._burst_of(write.address))]
            m.d.sync += data.eq(Cat(*[write.data] * slots))
            m.d.sync += mask.eq(write.mask << write.address[:shift] * (self.word_bits // 8) if shift else write.mask)

    def _burst_of(self, address: Value) -> Value:
        """Where a word begins."""
        shift = log2(self.words_per_burst)
        return address[shift:] if shift else address << log2(self.bursts)

    def _read(self, m: Module) -> Signal:
        """Bursts of the present request into a queue; whether a command is wanted."""
        slots, shift = self.words_per_burst, log2(self.words_per_burst)
        request = self.request.payload
        m.submodules.queue = queue = SyncFIFO(width=self.burst_bits, depth=QUEUED_BURSTS)
        m.submodules.asked = asked = SyncFIFO(width=COUNT_BITS + shift, depth=_QUEUED_REQUESTS)
        self.read_at = at = Signal(self.address_bits)
        left = Signal(COUNT_BITS + log2(self.bursts) + 1)  # bursts
        owed = Signal(range(QUEUED_BURSTS + 1), reset_less=True)  # by the core
        claimed = Signal(range(QUEUED_BURSTS + 1))  # owed, or in the queue
        wanted, asks, accepts = Signal(), Signal(), Signal()
        begins = request.address[:shift] if shift else Const(0, 0)
        bursts = (request.count + begins + slots - 1) >> shift if shift else request.count << log2(self.bursts)
        m.d.comb += [
            wanted.eq((left != 0) & (claimed != QUEUED_BURSTS) & self.usable & self.commanded),
            asks.eq(wanted & self.enabled & self.port_ready),
            self.request.ready.eq((left == 0) & self.usable & self.enabled & asked.w_rdy),
            accepts.eq(self.request.valid & self.request.ready),
            asked.w_data.eq(Cat(begins, request.count)),
            asked.w_en.eq(accepts & (request.count != 0)),
            queue.w_data.eq(self.port_words),
            queue.w_en.eq(self.port_came & self.usable),
        ]
        popped = self._cut(m, queue, asked)
        m.d.sync += [owed.eq(owed + asks - self.port_came), claimed.eq(claimed + asks - popped)]
        with m.If(owed == 0):
            m.d.sync += self.usable.eq(1)
        with m.If(asks):
            m.d.sync += [at.eq(at + 1), left.eq(left - 1)]
        with m.If(accepts):
            m.d.sync += [at.eq(self._burst_of(request.address)), left.eq(Mux(request.count == 0, 0, bursts))]
        return wanted

    def _cut(self, m: Module, queue: SyncFIFO, asked: SyncFIFO) -> Value:
        """Words out of the queue's bursts, request by request; whether a burst leaves the queue."""
        slots, shift = self.words_per_burst, log2(self.words_per_burst)
        left, part = Signal(COUNT_BITS), Signal(range(max(2, slots, self.bursts)))  # words; word or burst
        taken = Signal()
        with m.If((left == 0) | (taken & (left == 1))):
            m.d.comb += asked.r_en.eq(1)
            m.d.sync += left.eq(0)
            with m.If(asked.r_rdy):
                m.d.sync += [left.eq(asked.r_data[shift:]), part.eq(asked.r_data[:shift])]
        with m.Elif(taken):
            m.d.sync += left.eq(left - 1)
        m.d.comb += taken.eq(self.words.valid & self.words.ready)
        if self.bursts == 1:
            last = (part == slots - 1) | (left == 1)
            m.d.comb += [
                self.words.payload.eq(queue.r_data.word_select(part, self.word_bits)),
                self.words.valid.eq(queue.r_rdy & (left != 0)),
                queue.r_en.eq(taken & last),
            ]
            with m.If(taken & (left != 1)):
                m.d.sync += part.eq(part + 1 if slots > 1 else 0)
        else:
            rest = Signal(self.word_bits - self.burst_bits)
            whole = part == self.bursts - 1
            m.d.comb += [
                self.words.payload.eq(Cat(rest, queue.r_data)),
                self.words.valid.eq(queue.r_rdy & whole),
                queue.r_en.eq(taken | ~whole),
            ]
            with m.If(queue.r_rdy & queue.r_en):
                m.d.sync += [rest.eq(Cat(rest, queue.r_data)[self.burst_bits :]), part.eq(Mux(whole, 0, part + 1))]
        return queue.r_rdy & queue.r_en
