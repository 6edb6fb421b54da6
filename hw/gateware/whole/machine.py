"""The top: fetches a program from memory and carries it out, token by token, with nothing left to the host."""

from amaranth import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import Component, In, Out, connect, flipped

from hw.gateware.core import Core
from hw.gateware.whole.activations import ActivationBuffer
from hw.gateware.whole.embedding.row_reader import RowReader
from hw.gateware.whole.five_trits import FiveTritUnpacker
from hw.gateware.whole.front import GEMMS, READING, Front
from hw.gateware.whole.loader import Loader
from hw.gateware.whole.ports import ADDRESS_BITS, POSITION_BITS, InstructionLayout, log2, request_layout, write_layout
from hw.gateware.whole.reader import MemoryReader
from hw.gateware.whole.vector_unit import VectorUnit
from hw.program.instructions import OPERATIONS
from hw.program.interpreter import Status
from hw.program.machine import MachineConfig

__all__ = ["Machine"]

_PATIENCE_BITS = 16  # edges that memory may stay silent, as a power of two
_TAKEN = ("block", "visible", "skipped", "n", "k", "folds", "bursts", "burst_words")  # from the front


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
                "writes": Out(stream.Signature(write_layout(machine.array.weight_bus_bits))),
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
        m.submodules.front = self.front = front = Front(machine)
        m.submodules.reader = self.reader = reader = MemoryReader(machine)
        m.submodules.loader = self.loader = loader = Loader(machine)
        m.submodules.row_reader = self.row = row = RowReader(machine)
        m.submodules.vector = self.vector = vector = VectorUnit(machine)
        m.submodules.activations = self.activations = activations = ActivationBuffer(machine)
        m.submodules.core = self.core = core = Core(array)
        self.one = one = Signal(InstructionLayout)
        self.address, self.token, self.wanted = Signal(ADDRESS_BITS), Signal(POSITION_BITS), Signal()
        self.block, self.visible, self.skipped = Signal(POSITION_BITS), Signal(POSITION_BITS + 1), Signal()
        self.n, self.k, self.folds, self.bursts = Signal(16), Signal(16), Signal(16), Signal(16)
        self.burst_words = Signal(ADDRESS_BITS)
        self.taken = {name: getattr(self, name) for name in _TAKEN} | {"base": self.address}
        connect(m, reader.request, flipped(self.request))
        connect(m, flipped(self.words), reader.words)
        connect(m, vector.writes, flipped(self.writes))
        connect(m, core.results, vector.results)
        connect(m, activations.vectors, core.activations)
        m.d.comb += [
            front.token.eq(self.token),
            front.wanted.eq(self.wanted),
            front.position.eq(self.position),
            vector.instruction.eq(one),
            vector.address.eq(self.address),
            vector.position.eq(self.position),
            vector.block.eq(self.block),
            vector.block_bits.eq(front.header["block_bits"]),
            vector.visible.eq(self.visible >> log2(machine.lanes)),
            vector.load.eq(loader.write | row.write),
            vector.load_address.eq(Mux(row.write, row.write_address, loader.address)),
            vector.load_word.as_value().eq(Mux(row.write, row.word.as_value(), loader.word.as_value())),
            row.table.eq(one.address),
            row.beat.eq(self.address),
            row.place.eq(self.token[: log2(array.cols // machine.tile_words)]),
            row.destination.eq(one.destination),
            row.words.eq(one.words),
            row.packed.eq(one.packed if machine.unpacks else 0),
            loader.pick.eq(one.pick),
            loader.place.eq(self.token[: log2(2 * machine.lanes)]),
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
        self._take(m)
        self._sequence(m)
        return m

    def _is(self, *names: str) -> Value:
        return Cat(self.one.operation == OPERATIONS[name].code for name in names).any()

    def _descriptor(self, m: Module) -> None:
        """A GEMM's sizes for the array, and the folds of its activations."""
        one, payload = self.one, self.core.descriptor.payload
        m.d.comb += [
            payload.m.eq(one.rows),
            payload.n.eq(self.n),
            payload.k.eq(self.k),
            payload.last_plane.eq(one.planes - 1),
            payload.digits.eq(1),
            payload.by_lanes.eq(one.by_lanes),
            self.activations.folds.eq(self.folds),
        ]

    def _take(self, m: Module) -> None:
        """The instruction that is ready becomes the one that runs, with its sizes."""
        front = self.front
        with m.If(front.take):
            m.d.sync += [
                self.one.eq(front.instruction),
                *(mine.eq(getattr(front, name)) for name, mine in self.taken.items()),
            ]

    def _sequence(self, m: Module) -> None:
        """A token: its instructions as they are ready, until STOP."""
        one, reader, front, header = self.one, self.reader, self.front, self.front.header
        silent, to_core, to_loader, busy = Signal(self.patience_bits), Signal(), Signal(), Signal()
        beat_ready = self._beats(m, to_core)
        m.d.comb += [
            self.vector.clear.eq(0),
            self.loader.input.payload.eq(reader.output.payload),
            self.loader.input.valid.eq(reader.output.valid & to_loader),
            reader.output.ready.eq(beat_ready | (self.loader.input.ready & to_loader) | front.reading),
            reader.jump.eq(one.jump),
            reader.limit.eq(front.limit),
            front.word.eq(reader.output.payload),
            front.valid.eq(reader.output.valid),
            front.done.eq(reader.done),
            front.free.eq(~(busy & self._is(*READING) & ~self.skipped)),
        ]
        m.d.sync += silent.eq(Mux(reader.waiting, silent + 1, 0))
        m.d.sync += self.counter.eq(self.counter + 1)
        m.d.comb += [
            reader.address.eq(self.address),
            reader.count.eq(Mux(self._is("LOAD"), self.loader.memory_words, self.burst_words)),
            reader.bursts.eq(Mux(self._is("LOAD"), 1, self.bursts)),
        ]
        with m.If(front.ask | front.reading):
            m.d.comb += [
                reader.start.eq(front.ask),
                reader.address.eq(front.address),
                reader.count.eq(front.count),
                reader.bursts.eq(1),
            ]
        with m.If(self.row.ask | self.row.taking):
            m.d.comb += [
                reader.start.eq(self.row.ask),
                reader.address.eq(self.row.address),
                reader.count.eq(self.row.count),
                reader.bursts.eq(1),
            ]

        def take_next() -> None:
            m.next = "NEXT"
            with m.If(front.ready):
                m.d.comb += front.take.eq(1)
                m.next = "RUN"

        def retire() -> None:
            m.d.comb += self.retired.eq(1)
            m.d.sync += self.counter.eq(1)
            take_next()

        def watch() -> None:
            """What ends in a status wherever memory is read."""
            with m.If(silent.all()):
                self._stop(m, Status.MEMORY_SILENT)
            with m.Elif(reader.outside):
                self._stop(m, Status.OUTSIDE_MEMORY)

        with m.FSM():
            with m.State("HEADER"):
                with m.If(front.checked):
                    m.next = "WAIT"
                with m.Elif(front.status != 0):
                    self._stop(m, front.status)
                watch()
            with m.State("WAIT"):
                m.d.comb += [self.seek.ready.eq(1), self.tokens.ready.eq(~self.seek.valid)]
                with m.If(self.seek.valid):
                    m.d.sync += self.position.eq(self.seek.payload)
                with m.Elif(self.tokens.valid):
                    token = self.tokens.payload[:POSITION_BITS]
                    m.d.sync += [self.token.eq(token), self.wanted.eq(self.tokens.payload[POSITION_BITS])]
                    m.d.sync += self.counter.eq(1)
                    m.next = "NEXT"
                    with m.If(token >= header["vocabulary"]):
                        self._stop(m, Status.UNKNOWN_TOKEN)
                    with m.Elif(self.position >= header["context"]):
                        self._stop(m, Status.CONTEXT_FULL)
                    with m.Else():
                        m.d.comb += front.start.eq(1)
            with m.State("NEXT"):
                take_next()
                with m.If(front.status != 0):
                    self._stop(m, front.status)
                watch()
            with m.State("RUN"):
                m.d.comb += busy.eq(1)
                m.next = "RUNS"
                with m.If(self.skipped | self._is("END")):
                    retire()
                with m.Elif(self._is("STOP")):
                    m.d.comb += self.retired.eq(1)
                    m.d.sync += self.position.eq(self.position + 1)
                    m.next = "WAIT"
                    with m.If(self.wanted):
                        m.next = "ANSWER"
                with m.Elif(self._is("LOAD")):
                    m.d.comb += [self.loader.start.eq(1), reader.start.eq(1)]
                with m.Elif(self._is("ROW")):
                    m.d.comb += self.row.start.eq(1)
                with m.Else():
                    m.d.comb += self.vector.start.eq(1)
                    with m.If(self._is(*GEMMS)):
                        m.d.comb += [
                            self.core.descriptor.valid.eq(1),
                            self.activations.start.eq(1),
                            reader.start.eq(1),
                        ]
            with m.State("RUNS"):
                m.d.comb += [busy.eq(1), to_loader.eq(self._is("LOAD")), to_core.eq(self._is(*GEMMS))]
                starved = self.core.weights.ready & ~self.core.weights.valid & ~reader.busy
                with m.If(self._is(*GEMMS) & (starved | (self.vector.done & reader.busy)) & ~reader.outside):
                    self._stop(m, Status.WRONG_BURST)
                with m.Elif(self.loader.done | self.row.done | self.vector.done):
                    retire()
                with m.Else():
                    watch()
            with m.State("ANSWER"):
                m.d.comb += [self.next.valid.eq(1), self.next.payload.eq(self.vector.best)]
                with m.If(self.next.ready):
                    m.next = "WAIT"
            with m.State("STOPPED"):
                m.d.sync += self.counter.eq(0)

    def _beats(self, m: Module, to_core: Signal) -> Value:
        """Beats for the array or the row reader: words as memory gives them, or unpacked; whether a word is taken."""
        words, weights, row, one = self.reader.output, self.core.weights, self.row, self.one
        wanted, ready, valid = Signal(), Signal(), Signal()
        m.d.comb += [
            wanted.eq(to_core | row.taking),
            ready.eq(Mux(to_core, weights.ready, row.input.ready & row.taking)),
            valid.eq(words.valid & wanted),
            weights.payload.eq(words.payload),
            weights.valid.eq(valid & to_core),
            row.input.payload.eq(weights.payload),
            row.input.valid.eq(valid & row.taking),
        ]
        if not self.machine.unpacks:
            return ready & wanted
        m.submodules.unpacker = self.unpacker = unpacker = FiveTritUnpacker(self.machine)
        m.d.comb += [
            unpacker.start.eq(~wanted),
            unpacker.input.payload.eq(words.payload),
            unpacker.input.valid.eq(words.valid & wanted & one.packed),
            unpacker.output.ready.eq(ready & one.packed),
        ]
        with m.If(one.packed):
            m.d.comb += [weights.payload.eq(unpacker.output.payload), valid.eq(unpacker.output.valid & wanted)]
        return Mux(one.packed, unpacker.input.ready, ready) & wanted

    def _stop(self, m: Module, status: Value | Status) -> None:
        m.d.sync += self.status.eq(status)
        m.next = "STOPPED"
