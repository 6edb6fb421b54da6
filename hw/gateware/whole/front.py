"""Front: reads header and program, and has the next instruction ready while the present one runs."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hw.gateware.whole.ports import ADDRESS_BITS, COUNT_BITS, POSITION_BITS, InstructionLayout, log2
from hw.program.image import HEADER_FIELDS, MAGIC, config_tag
from hw.program.instructions import FIELDS, OPERATIONS, used_bits
from hw.program.interpreter import Status
from hw.program.machine import INSTRUCTION_BITS, LINE_INSTRUCTIONS, MachineConfig

__all__ = ["GEMMS", "GROWING", "READING", "STATIC", "Front"]

STATIC, GROWING = ("DEQ", "ARGMAX"), ("SCORE", "OACC")  # GEMMs with weights, with K or V
GEMMS = (*STATIC, *GROWING)
READING = ("LOAD", "ROW", *GEMMS)  # which read memory
_NUMBER_BITS = 24
_FACTOR_BITS = 18  # of a multiplier block
_HEADER = data.StructLayout({name: bits for name, (_, bits) in HEADER_FIELDS.items()})


class Front(Component):
    """Looks an instruction up, checks every unused bit, computes address and sizes, and waits until it is taken.

    It knows where the program goes on: END is decided here, behind STOP it waits for the next token, so that nothing
    is ever fetched in vain. Instructions come in lines of 8, which stay until another takes their place.

    Members
    -------
    start, token, wanted, position : begin a token; they stay until STOP is taken.
    free : nobody else reads memory. ask, address, count : begin to read; ``count`` stays. limit : words of memory.
    word, valid, done, reading : words of memory while ``reading``; ``done``: the last one.
    checked : the header has been read and is this machine's, on that edge.
    ready, take : an instruction can be taken; this edge takes it.
    instruction, base, block, visible, skipped : it; its address, indexed (ROW: its first beat); the block of the
        context that it works on, and the tokens of it; it is not wanted.
    n, k, folds, bursts, burst_words : sizes of a GEMM.
    header : its fields.
    status : what is wrong with header or instruction, which is none then.
    """

    def __init__(self, machine: MachineConfig):
        self.machine = machine
        super().__init__(
            {
                "start": In(1),
                "token": In(POSITION_BITS),
                "wanted": In(1),
                "position": In(POSITION_BITS),
                "free": In(1),
                "ask": Out(1),
                "address": Out(ADDRESS_BITS),
                "count": Out(COUNT_BITS),
                "limit": Out(ADDRESS_BITS + 1),
                "word": In(machine.array.weight_bus_bits),
                "valid": In(1),
                "done": In(1),
                "reading": Out(1),
                "checked": Out(1),
                "ready": Out(1),
                "take": In(1),
                "instruction": Out(InstructionLayout),
                "base": Out(ADDRESS_BITS),
                "block": Out(POSITION_BITS),
                "visible": Out(POSITION_BITS + 1),
                "skipped": Out(1),
                "n": Out(16),
                "k": Out(16),
                "folds": Out(16),
                "bursts": Out(16),
                "burst_words": Out(ADDRESS_BITS),
                "header": Out(_HEADER),
                "status": Out(4),
            }
        )

    def elaborate(self, platform) -> Module:
        """Lines of instructions, sizes beside the sequence, header and program."""
        m = Module()
        machine, words = self.machine, self.machine.instruction_words
        self.begun, self.number = Signal(), Signal(_NUMBER_BITS)  # begun: a token has ended
        m.submodules.lines = lines = Memory(
            shape=INSTRUCTION_BITS, depth=LINE_INSTRUCTIONS * machine.instruction_lines, init=[]
        )
        read, write = lines.read_port(), lines.write_port()
        gathered = Signal(INSTRUCTION_BITS)
        part, slot = Signal(range(max(2, words))), Signal(range(LINE_INSTRUCTIONS))
        whole = Cat(gathered, self.word)[-INSTRUCTION_BITS:] if words > 1 else self.word
        line, present, fill = self._line(m)
        gather = self.reading & self.valid
        m.d.comb += [
            read.addr.eq(self.number[: len(read.addr)]),
            write.addr.eq(Cat(slot, line[: log2(machine.instruction_lines)])),
            write.data.eq(whole),
            write.en.eq(gather & (part == words - 1)),
            self.limit.eq(self.header["memory_words"]),
            self.count.eq(LINE_INSTRUCTIONS * words),
            self.address.eq((line << log2(LINE_INSTRUCTIONS)) + 1 << log2(words)),
        ]
        with m.If(gather):
            m.d.sync += [gathered.eq(whole), part.eq(part + 1)]
            with m.If(part == words - 1):
                m.d.sync += [part.eq(0), slot.eq(slot + 1)]
        self._sizes(m)
        with m.FSM():
            self._read_header(m, gathered)
            with m.State("FETCH"):
                m.next = "CHECK"
                with m.If(~present):
                    m.d.sync += [slot.eq(0), part.eq(0)]
                    m.d.comb += [self.ask.eq(self.free), fill.eq(self.free)]
                    m.next = "FETCH"
                    with m.If(self.free):
                        m.next = "FETCH WORDS"
            with m.State("FETCH WORDS"):
                m.d.comb += self.reading.eq(1)
                with m.If(self.done):
                    m.next = "FETCH"
            with m.State("CHECK"):
                m.d.sync += self.instruction.as_value().eq(read.data)
                m.next = "DECODE"
            self._prepare(m)
        return m

    def _line(self, m: Module) -> tuple[Value, Signal, Signal]:
        """The number of the line that the instruction is in, whether it is there, and that it is fetched now."""
        count = self.machine.instruction_lines
        line, present, fill = self.number[log2(LINE_INSTRUCTIONS) :], Signal(), Signal()
        tags = Array(Signal(len(line), name=f"tag{i}") for i in range(count))
        filled = Array(Signal(name=f"filled{i}") for i in range(count))
        place = line[: log2(count)] if count > 1 else Const(0, 1)
        m.d.comb += present.eq(filled[place] & (tags[place] == line))
        with m.If(fill):
            m.d.sync += [tags[place].eq(line), filled[place].eq(1)]
        return line, present, fill

    def _is(self, *names: str) -> Value:
        return Cat(self.instruction.operation == OPERATIONS[name].code for name in names).any()

    def _read_header(self, m: Module, gathered: Signal) -> None:
        """States from reset until the first token."""
        words = self.machine.instruction_words
        with m.State("HEADER"):
            m.d.comb += [self.ask.eq(1), self.address.eq(0), self.count.eq(words), self.limit.eq(words)]
            m.next = "HEADER WORDS"
        with m.State("HEADER WORDS"):
            m.d.comb += [self.reading.eq(1), self.count.eq(words), self.limit.eq(words)]
            with m.If(self.done):
                m.next = "HEADER CHECK"
        with m.State("HEADER CHECK"):
            for name, (low, bits) in HEADER_FIELDS.items():
                m.d.sync += self.header[name].eq(gathered[low : low + bits])  # one by one: a header has gaps
            m.next = "WAIT"
            with m.If(gathered[:32] != MAGIC):
                m.d.comb += self.status.eq(Status.NOT_AN_IMAGE)
            with m.Elif(gathered[32:96] != config_tag(self.machine)):
                m.d.comb += self.status.eq(Status.OTHER_CONFIGURATION)
            with m.Else():
                m.d.comb += self.checked.eq(1)
        with m.State("WAIT"), m.If(self.start):
            m.d.sync += [self.number.eq(Mux(self.begun, self.header["entry"], 0)), self.block.eq(0)]
            m.next = "FETCH"

    def _sizes(self, m: Module) -> None:
        """Tokens of the block that are worked on, up to a whole stretch; sizes of a GEMM, three registers deep."""
        machine, array, one = self.machine, self.machine.array, self.instruction
        whole, left, stretch = Signal(POSITION_BITS + 1), Signal(POSITION_BITS + 1), machine.stretch
        before = Signal(POSITION_BITS)
        m.d.sync += [
            whole.eq(Const(1) << self.header["block_bits"]),
            before.eq(self.block << self.header["block_bits"]),
            left.eq(self.position + 1 - before),
        ]
        rounded = Mux(left > whole, whole, left) + (stretch - 1) >> log2(stretch) << log2(stretch)
        m.d.sync += self.visible.eq(rounded)  # settled, three registers behind the block, as an instruction is decoded
        fold_bits, column_bits = 17 - log2(array.rows), 17 - log2(array.cols)  # a product of both fits one multiplier
        columns, tiles = Signal(column_bits), Signal(column_bits + 3)
        m.d.comb += [
            self.n.eq(Mux(one.by_block & ~one.by_lanes, self.visible, one.n)),
            self.k.eq(Mux(one.by_block & one.by_lanes, self.visible, one.k)),
            self.skipped.eq(one.last_only & ~self.wanted),
        ]
        m.d.sync += [
            self.folds.eq(self.k + array.rows - 1 >> log2(array.rows)),
            columns.eq(self.n + array.cols - 1 >> log2(array.cols)),
        ]
        folds, per_tile = self.folds[:fold_bits], log2(machine.tile_words)
        m.d.sync += [
            tiles.eq(columns * one.planes),
            self.bursts.eq(Mux(one.by_lanes, tiles, 1)),
            self.burst_words.eq(Mux(self._is(*STATIC), one.burst, Mux(one.by_lanes, folds, tiles * folds) << per_tile)),
        ]

    def _prepare(self, m: Module) -> None:
        """States from the decoded instruction until it is taken; then where the program goes on."""
        one, array = self.instruction, self.machine.array
        known, product = Signal(), Signal(ADDRESS_BITS)
        following, more = Signal(POSITION_BITS + 1), Signal()
        m.d.sync += [  # settled as an instruction is ready
            following.eq(self.block + 1 << self.header["block_bits"]),
            more.eq(following <= self.position),
        ]
        chosen, near, far = Signal(POSITION_BITS), Signal(2 * _FACTOR_BITS), Signal(ADDRESS_BITS - _FACTOR_BITS)
        with m.State("DECODE"):
            with m.Switch(one.operation):
                for name, operation in OPERATIONS.items():
                    with m.Case(operation.code):
                        strange = (1 << INSTRUCTION_BITS) - 1 & ~self._used_bits(name)
                        m.d.comb += known.eq(~(one.as_value() & strange).any())
            m.next = "ADDRESS"
            with m.If(~known):
                m.next = "UNKNOWN"
            with m.Elif(self.skipped):
                m.next = "READY"
        index = Array([Const(0, POSITION_BITS), self.token, self.position, self.block])[one.index]
        tiles = self.position >> log2(array.cols)  # K: column tiles of tokens in front of this one's
        index = Mux(self._is("KV"), Mux(one.by_lanes, 0, tiles), index)
        index = Mux(self._is("LOAD") & one.pick, self.token >> log2(2 * self.machine.lanes), index)
        index = Mux(self._is("ROW"), self.token >> log2(array.cols), index)
        columns_per_beat = array.cols // self.machine.tile_words
        in_tile = self.token[: log2(array.cols)] >> log2(columns_per_beat)
        m.d.sync += chosen.eq(index)  # settled behind DECODE
        (a, a_high), (b, b_high) = ((value[:_FACTOR_BITS], value[_FACTOR_BITS:]) for value in (one.stride, chosen))
        with m.State("ADDRESS"):
            m.d.sync += [near.eq(a * b), far.eq(a_high * b + a * b_high)]
            m.next = "SUM"
        with m.State("SUM"):
            m.d.sync += product.eq(near + (far << _FACTOR_BITS))
            m.next = "SETTLE"
        with m.State("SETTLE"):  # sizes of a GEMM take three registers from the decoded instruction
            m.d.sync += self.base.eq(Mux(self._is("ROW"), one.skip + in_tile, one.address) + product)
            m.next = "READY"
        with m.State("READY"):
            m.d.comb += self.ready.eq(1)
            with m.If(self.take):
                m.next = "FETCH"
                m.d.sync += self.number.eq(self.number + 1)
                with m.If(self._is("END") & ~self.skipped):
                    m.d.sync += self.block.eq(Mux(more, self.block + 1, 0))
                    with m.If(more):
                        m.d.sync += self.number.eq(one.address)
                with m.If(self._is("STOP") & ~self.skipped):
                    m.d.sync += self.begun.eq(1)
                    m.next = "WAIT"
        with m.State("UNKNOWN"):
            m.d.comb += self.status.eq(Status.UNKNOWN_INSTRUCTION)

    def _used_bits(self, name: str) -> int:
        """Bits that an operation may set on this machine."""
        foreign = 0 if self.machine.unpacks or name not in (*STATIC, "ROW") else 1 << FIELDS["packed"].low
        return used_bits(name) & ~foreign
