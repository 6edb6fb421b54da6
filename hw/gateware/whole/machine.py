"""The top: fetches a program from memory and carries it out, token by token, with nothing left to the host."""

from amaranth import Array, Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.core import Core
from hw.gateware.whole.activations import ActivationBuffer
from hw.gateware.whole.five_trits import FiveTritUnpacker
from hw.gateware.whole.loader import Loader
from hw.gateware.whole.ports import ADDRESS_BITS, POSITION_BITS, InstructionLayout, log2, request_layout, write_layout
from hw.gateware.whole.reader import MemoryReader
from hw.gateware.whole.vector_unit import VectorUnit
from hw.program.image import HEADER_FIELDS, MAGIC, config_tag
from hw.program.instructions import FIELDS, OPERATIONS, used_bits
from hw.program.interpreter import Status
from hw.program.machine import INSTRUCTION_BITS, MachineConfig

__all__ = ["FETCHED", "Machine"]

FETCHED = 8  # instructions of one burst
_PATIENCE_BITS = 16  # edges that memory may stay silent, as a power of two
_STATIC, _GROWING = ("DEQ", "ARGMAX"), ("SCORE", "OACC")  # GEMMs with weights, with K or V
_GEMMS = (*_STATIC, *_GROWING)


class Machine(Component):
    """A whole-token machine behind one memory port; ``docs/token_machine.md``.

    Members
    -------
    tokens : ids to take in at the position, with whether the next token's is wanted; taken between tokens.
    next : the next token's id, where it is wanted.
    seek : go on at another position, between tokens: 0 starts anew, a smaller one keeps a prefix of K and V.
    request, words : reads of memory, bursts of words in order. writes : of parts of words.
    status : why the machine stopped; 0 while it works. It stays stopped until reset.
    saturated : a kernel clipped a value since reset.
    position : tokens taken in.
    retired, operation, counter : this edge ends an instruction; which one; the edges that it took.
    """

    def __init__(self, machine: MachineConfig, patience_bits: int = _PATIENCE_BITS):
        self.machine, self.patience_bits = machine, patience_bits
        bits = machine.array.weight_bus_bits
        super().__init__(
            {
                "tokens": In(stream.Signature(POSITION_BITS + 1)),
                "next": Out(stream.Signature(POSITION_BITS)),
                "seek": In(stream.Signature(POSITION_BITS)),
                "request": Out(stream.Signature(request_layout())),
                "words": In(stream.Signature(bits)),
                "writes": Out(stream.Signature(write_layout(machine))),
                "status": Out(4),
                "saturated": Out(1),
                "position": Out(POSITION_BITS),
                "retired": Out(1),
                "operation": Out(5),
                "counter": Out(32),
            }
        )

    def elaborate(self, platform) -> Module:
        """Blocks and their wires, then the sequence of a token."""
        m = Module()
        machine, array = self.machine, self.machine.array
        m.submodules.reader = self.reader = reader = MemoryReader(machine)
        m.submodules.loader = self.loader = loader = Loader(machine)
        m.submodules.vector = self.vector = vector = VectorUnit(machine)
        m.submodules.activations = self.activations = activations = ActivationBuffer(machine)
        m.submodules.core = self.core = core = Core(array)
        self.one = one = Signal(InstructionLayout)
        self.address, self.token, self.wanted = Signal(ADDRESS_BITS), Signal(POSITION_BITS), Signal()
        self.block, self.number = Signal(POSITION_BITS), Signal(24)
        self.begun = Signal()  # a token has ended
        self.header = {name: Signal(bits, name=f"header_{name}") for name, (_, bits) in HEADER_FIELDS.items()}
        self.visible = Signal(POSITION_BITS + 1)
        connect(m, reader.request, flipped(self.request))
        connect(m, flipped(self.words), reader.words)
        connect(m, vector.writes, flipped(self.writes))
        connect(m, core.results, vector.results)
        connect(m, activations.vectors, core.activations)
        m.d.comb += [
            reader.limit.eq(self.header["memory_words"]),
            vector.instruction.eq(one),
            vector.address.eq(self.address),
            vector.position.eq(self.position),
            vector.block.eq(self.block),
            vector.block_bits.eq(self.header["block_bits"]),
            vector.visible.eq(self.visible >> log2(machine.lanes)),
            vector.load.eq(loader.write),
            vector.load_address.eq(loader.address),
            vector.load_word.eq(loader.word),
            self.saturated.eq(vector.saturated),
            activations.write.eq(vector.activation_write),
            activations.write_address.eq(vector.activation_address),
            activations.write_slice.eq(vector.activation_slice),
            activations.write_numbers.eq(vector.activation_numbers),
            activations.base.eq(one.activation),
            activations.tokens.eq(one.rows),
            loader.destination.eq(one.destination),
            loader.element.eq(one.element),
            loader.words.eq(Mux(one.by_block, self.visible >> log2(machine.lanes), one.words)),
            self.operation.eq(one.operation),
        ]
        self._descriptor(m)
        self._blocks(m)
        self._sequence(m)
        return m

    def _is(self, *names: str) -> Value:
        return Cat(self.one.operation == OPERATIONS[name].code for name in names).any()

    def _blocks(self, m: Module) -> None:
        """Tokens of the present block that are worked on: those of the context, up to a whole stretch."""
        whole, stretch = Signal(POSITION_BITS + 1), self.machine.stretch
        left = Signal(POSITION_BITS + 1)
        m.d.comb += [
            whole.eq(Const(1) << self.header["block_bits"]),
            left.eq(self.position + 1 - (self.block << self.header["block_bits"])),
        ]
        rounded = Mux(left > whole, whole, left) + (stretch - 1) >> log2(stretch) << log2(stretch)
        m.d.sync += self.visible.eq(rounded)  # settled long before an instruction reads it

    def _descriptor(self, m: Module) -> None:
        """A GEMM's sizes for the array, its bursts and the folds of its activations."""
        one, core, array, machine = self.one, self.core, self.machine.array, self.machine
        n = Mux(one.by_block & ~one.by_lanes, self.visible, one.n)
        k = Mux(one.by_block & one.by_lanes, self.visible, one.k)
        self.folds, self.columns = folds, columns = Signal(16), Signal(16)
        self.bursts, self.words_of_burst = Signal(16), Signal(ADDRESS_BITS)
        m.d.sync += [
            folds.eq(k + array.rows - 1 >> log2(array.rows)),
            columns.eq(n + array.cols - 1 >> log2(array.cols)),
        ]
        per_plane = folds << log2(machine.tile_words)
        self.tiles = Signal(ADDRESS_BITS)
        m.d.sync += [
            self.tiles.eq(columns * one.planes),
            self.bursts.eq(Mux(one.by_lanes, self.tiles, 1)),
            self.words_of_burst.eq(
                Mux(self._is(*_STATIC), one.burst, Mux(one.by_lanes, per_plane, self.tiles * per_plane))
            ),
        ]
        payload = core.descriptor.payload
        m.d.comb += [
            payload.m.eq(one.rows),
            payload.n.eq(n),
            payload.k.eq(k),
            payload.last_plane.eq(one.planes - 1),
            payload.digits.eq(1),
            payload.by_lanes.eq(one.by_lanes),
            self.activations.folds.eq(folds),
        ]

    def _sequence(self, m: Module) -> None:
        """Header once; then a token: fetch, check, address, run, until STOP."""
        one, reader, header = self.one, self.reader, self.header
        machine, words = self.machine, self.machine.instruction_words
        m.submodules.fetched = fetched = Memory(shape=INSTRUCTION_BITS, depth=FETCHED, init=[])
        read, write = fetched.read_port(), fetched.write_port()
        tag, filled = Signal(24 - log2(FETCHED)), Signal()
        gathered = Signal(INSTRUCTION_BITS)
        part, slot = Signal(range(max(2, words))), Signal(range(FETCHED))
        whole = Cat(gathered, self.words.payload)[-INSTRUCTION_BITS:] if words > 1 else self.words.payload
        ready, silent = Signal(), Signal(self.patience_bits)
        m.d.comb += [read.addr.eq(self.number[: log2(FETCHED)]), write.addr.eq(slot), write.data.eq(whole)]
        m.d.comb += self.vector.clear.eq(0)
        to_core, to_loader = Signal(), Signal()
        weights_ready = self._weights(m, to_core)
        m.d.comb += [
            self.loader.input.payload.eq(reader.output.payload),
            self.loader.input.valid.eq(reader.output.valid & to_loader),
            reader.output.ready.eq((weights_ready & to_core) | (self.loader.input.ready & to_loader) | ready),
        ]
        gather = ready & reader.output.valid
        with m.If(gather):
            m.d.sync += [gathered.eq(whole), part.eq(part + 1)]
            with m.If(part == words - 1):
                m.d.sync += [part.eq(0), slot.eq(slot + 1)]
        m.d.comb += write.en.eq(gather & (part == words - 1))
        m.d.sync += silent.eq(Mux(reader.waiting, silent + 1, 0))
        m.d.sync += self.counter.eq(self.counter + 1)

        def ask(address: Value, count: Value | int, bursts: Value | int = 1) -> None:
            m.d.comb += [
                reader.start.eq(1),
                reader.address.eq(address),
                reader.count.eq(count),
                reader.bursts.eq(bursts),
            ]

        def retire(number: Value) -> None:
            m.d.comb += self.retired.eq(1)
            m.d.sync += [self.number.eq(number), self.counter.eq(1)]

        m.d.comb += reader.jump.eq(one.jump)
        known = Signal()
        with m.FSM():
            with m.State("HEADER"):
                m.d.comb += reader.limit.eq(words)
                ask(Const(0, ADDRESS_BITS), words)
                m.next = "HEADER WORDS"
            with m.State("HEADER WORDS"):
                m.d.comb += [ready.eq(1), reader.limit.eq(words), reader.count.eq(words)]
                with m.If(reader.done):
                    m.next = "HEADER CHECK"
                with m.Elif(silent.all()):
                    self._stop(m, Status.MEMORY_SILENT)
            with m.State("HEADER CHECK"):
                for name, (low, bits) in HEADER_FIELDS.items():
                    m.d.sync += header[name].eq(gathered[low : low + bits])
                m.next = "WAIT"
                with m.If(gathered[:32] != MAGIC):
                    self._stop(m, Status.NOT_AN_IMAGE)
                with m.Elif(gathered[32:96] != config_tag(machine)):
                    self._stop(m, Status.OTHER_CONFIGURATION)
            with m.State("WAIT"):
                m.d.comb += [self.seek.ready.eq(1), self.tokens.ready.eq(~self.seek.valid)]
                with m.If(self.seek.valid):
                    m.d.sync += self.position.eq(self.seek.payload)
                with m.Elif(self.tokens.valid):
                    token = self.tokens.payload[:POSITION_BITS]
                    m.d.sync += [self.token.eq(token), self.wanted.eq(self.tokens.payload[POSITION_BITS])]
                    m.d.sync += [self.number.eq(Mux(self.begun, header["entry"], 0)), self.block.eq(0)]
                    m.d.sync += self.counter.eq(1)
                    m.next = "FETCH"
                    with m.If(token >= header["vocabulary"]):
                        self._stop(m, Status.UNKNOWN_TOKEN)
                    with m.Elif(self.position >= header["context"]):
                        self._stop(m, Status.CONTEXT_FULL)
            with m.State("FETCH"):
                m.next = "CHECK"
                with m.If(~filled | (tag != self.number[log2(FETCHED) :])):
                    m.d.sync += [tag.eq(self.number[log2(FETCHED) :]), filled.eq(1), slot.eq(0), part.eq(0)]
                    first = (self.number[log2(FETCHED) :] << log2(FETCHED)) + 1 << log2(words)
                    ask(first, FETCHED * words)
                    m.next = "FETCH WORDS"
            with m.State("FETCH WORDS"):
                m.d.comb += [ready.eq(1), reader.count.eq(FETCHED * words)]
                with m.If(reader.done):
                    m.next = "FETCH"
                with m.Elif(silent.all()):
                    self._stop(m, Status.MEMORY_SILENT)
                with m.Elif(reader.outside):
                    self._stop(m, Status.OUTSIDE_MEMORY)
            with m.State("CHECK"):
                m.d.sync += one.as_value().eq(read.data)
                m.next = "DECODE"
            with m.State("DECODE"):
                with m.Switch(one.operation):
                    for name, operation in OPERATIONS.items():
                        with m.Case(operation.code):
                            strange = (1 << INSTRUCTION_BITS) - 1 & ~self._used_bits(name)
                            m.d.comb += known.eq(~(one.as_value() & strange).any())
                m.next = "ADDRESS"
                with m.If(~known):
                    self._stop(m, Status.UNKNOWN_INSTRUCTION)
                with m.Elif(one.last_only & ~self.wanted):
                    retire(self.number + 1)
                    m.next = "FETCH"
            self._address(m)
            with m.State("RUN"):
                m.next = "RUNS"
                with m.If(self._is("STOP")):
                    retire(self.number + 1)
                    m.d.sync += [self.position.eq(self.position + 1), self.begun.eq(1)]
                    m.next = "WAIT"
                    with m.If(self.wanted):
                        m.next = "ANSWER"
                with m.Elif(self._is("END")):
                    more = (self.block + 1 << header["block_bits"]) <= self.position
                    m.d.sync += self.block.eq(Mux(more, self.block + 1, 0))
                    retire(Mux(more, one.address, self.number + 1))
                    m.next = "FETCH"
                with m.Elif(self._is("LOAD")):
                    m.d.comb += self.loader.start.eq(1)
                    ask(self.address, self.loader.memory_words)
                with m.Elif(self._is(*_GEMMS)):
                    m.d.comb += [
                        self.core.descriptor.valid.eq(1),
                        self.activations.start.eq(1),
                        self.vector.start.eq(1),
                    ]
                    ask(self.address, self.words_of_burst, self.bursts)
                with m.Else():
                    m.d.comb += self.vector.start.eq(1)
            with m.State("RUNS"):
                m.d.comb += [to_loader.eq(self._is("LOAD")), to_core.eq(self._is(*_GEMMS))]
                m.d.comb += reader.count.eq(Mux(self._is("LOAD"), self.loader.memory_words, self.words_of_burst))
                starved = self.core.weights.ready & ~self.core.weights.valid & ~reader.busy
                with m.If(self._is(*_GEMMS) & (starved | (self.vector.done & reader.busy)) & ~reader.outside):
                    self._stop(m, Status.WRONG_BURST)
                with m.Elif(self.loader.done | self.vector.done):
                    retire(self.number + 1)
                    m.next = "FETCH"
                with m.Elif(silent.all()):
                    self._stop(m, Status.MEMORY_SILENT)
                with m.Elif(reader.outside):
                    self._stop(m, Status.OUTSIDE_MEMORY)
            with m.State("ANSWER"):
                m.d.comb += [self.next.valid.eq(1), self.next.payload.eq(self.vector.best)]
                with m.If(self.next.ready):
                    m.next = "WAIT"
            with m.State("STOPPED"):
                m.d.sync += self.counter.eq(0)

    def _used_bits(self, name: str) -> int:
        """Bits that an operation may set on this machine."""
        foreign = 0 if self._unpacks or name not in _STATIC else 1 << FIELDS["packed"].low
        return used_bits(name) & ~foreign

    @property
    def _unpacks(self) -> bool:
        return self.machine.weight_packing != self.machine.array.packing

    def _weights(self, m: Module, to_core: Signal) -> Value:
        """The array's weights: words from memory as they are, or unpacked; whether a word is taken."""
        words, weights, one = self.reader.output, self.core.weights, self.one
        m.d.comb += [weights.payload.eq(words.payload), weights.valid.eq(words.valid & to_core)]
        if not self._unpacks:
            return weights.ready
        m.submodules.unpacker = self.unpacker = unpacker = FiveTritUnpacker(self.machine)
        m.d.comb += [
            unpacker.start.eq(~to_core),
            unpacker.input.payload.eq(words.payload),
            unpacker.input.valid.eq(words.valid & to_core & one.packed),
            unpacker.output.ready.eq(weights.ready & one.packed),
        ]
        with m.If(one.packed):
            m.d.comb += [weights.payload.eq(unpacker.output.payload), weights.valid.eq(unpacker.output.valid & to_core)]
        return Mux(one.packed, unpacker.input.ready, weights.ready)

    def _address(self, m: Module) -> None:
        """The address with its index: a product, then a sum."""
        one, array = self.one, self.machine.array
        product, base = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        index = Array([Const(0, POSITION_BITS), self.token, self.position, self.block])[one.index]
        tiles = self.position >> log2(array.cols)  # K: column tiles of tokens in front of this one's
        index = Mux(self._is("KV"), Mux(one.by_lanes, 0, tiles), index)
        with m.State("ADDRESS"):
            m.d.sync += [product.eq(one.stride * index), base.eq(one.address)]
            m.next = "SUM"
        with m.State("SUM"):
            m.d.sync += self.address.eq(base + product)
            m.next = "SETTLE"
        with m.State("SETTLE"):  # sizes of a GEMM take three registers from the decoded instruction
            m.next = "RUN"

    def _stop(self, m: Module, status: Status) -> None:
        m.d.sync += self.status.eq(status)
        m.next = "STOPPED"
