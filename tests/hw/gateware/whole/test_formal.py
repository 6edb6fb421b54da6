"""Proofs over every sequence of inputs of the stated length after reset: blocks at memory neither hang nor overflow.

Each proof has a mutated copy whose fault must be found.
"""

import pytest
from amaranth import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from hw.config import load_array
from hw.gateware.whole import five_trits, front, kv_writer, loader, reader
from hw.gateware.whole.five_trits import FiveTritUnpacker
from hw.gateware.whole.front import Front
from hw.gateware.whole.kv_writer import KvWriter
from hw.gateware.whole.loader import Loader
from hw.gateware.whole.reader import MemoryReader
from hw.program.image import MAGIC, config_tag
from hw.program.instructions import ELEMENTS, FIELDS, OPERATIONS
from hw.program.machine import MachineConfig, machine_around
from tests.hw.gateware.proof import prove
from tests.hw.seeded import mutated

MACHINE = machine_around(load_array("8x8"), 2, scratch_words=64, activation_words=16, weight_packing="5in8")
WIDE = machine_around(load_array("16x8"), 8, scratch_words=64, activation_words=16, instruction_lines=1)


MAGIC_BITS, TAG_BITS = Const(MAGIC, 32), Const(config_tag(WIDE), 64)


class Shadow(Component):
    """A block with free inputs: members of ``inputs``, each so many bits; ``rules`` gives what must hold."""

    inputs: dict[str, int]
    block: type
    machine: MachineConfig

    def __init__(self, block=None):
        self.inner = (block or self.block)(self.machine)
        super().__init__({name: In(bits) for name, bits in self.inputs.items()} | {"ok": Out(1)})

    def elaborate(self, platform) -> Module:
        m = Module()
        m.submodules.inner = self.inner
        m.d.comb += self.ok.eq(Cat(self.rules(m, self.inner)).all())
        return m


class Bursts(Shadow):
    """The reader asks for what it was told, one burst at a time, never beyond the limit, and moves whenever it can."""

    inputs = {"go": 1, "count": 3, "bursts": 2, "jump": 3, "address": 4, "take": 1, "give": 1, "accept": 1}

    block, machine = MemoryReader, MACHINE

    def rules(self, m, reader):
        owed, asked, ran = Signal(4), Signal(3), Signal()
        count, bursts, jump, expected = Signal(3), Signal(2), Signal(3), Signal(6)
        start = Signal()
        m.d.comb += [
            start.eq(self.go & ~reader.busy & (self.count != 0) & (self.bursts != 0)),
            reader.start.eq(start),
            reader.count.eq(Mux(start, self.count, count)),
            reader.address.eq(self.address),
            reader.bursts.eq(self.bursts),
            reader.jump.eq(jump),
            reader.limit.eq(20),
            reader.request.ready.eq(self.accept),
            reader.words.valid.eq(self.give & (owed != 0)),
            reader.output.ready.eq(self.take),
        ]
        payload = reader.request.payload
        request = reader.request.valid & reader.request.ready
        word = reader.words.valid & reader.words.ready
        with m.If(start):
            m.d.sync += [
                count.eq(self.count), bursts.eq(self.bursts), jump.eq(self.jump), expected.eq(self.address),
                asked.eq(0), ran.eq(1),
            ]  # fmt: skip
        with m.If(request):
            m.d.sync += [asked.eq(asked + 1), owed.eq(payload.count), expected.eq(expected + jump)]
        with m.If(word):
            m.d.sync += owed.eq(owed - 1)
        over = (asked == bursts) & (owed == 0)
        return [
            ~request | ((owed == 0) & (payload.address == expected) & (payload.count == count) & (asked != bursts)),
            ~reader.request.valid | (payload.address + payload.count <= 20),
            reader.done == (word & (owed == 1) & (asked == bursts)),
            reader.busy | ~ran | over | reader.outside,
            # whoever runs it is told when memory keeps it waiting; else something moves, or it has just been refused
            ~reader.busy
            | reader.waiting
            | request
            | word
            | (reader.output.valid & ~self.take)
            | (expected + count > 20),
        ]


class Beats(Shadow):
    """The unpacker owes a quarter of a beat for every word and never loses or invents one."""

    inputs = {"valid": 1, "ready": 1, "word": 64}

    block, machine = FiveTritUnpacker, MACHINE

    def rules(self, m, unpacker):
        parts = Signal(4)  # quarters of a beat that came and did not leave
        m.d.comb += [
            unpacker.input.valid.eq(self.valid),
            unpacker.input.payload.eq(self.word),
            unpacker.output.ready.eq(self.ready),
        ]
        taken, left = unpacker.input.valid & unpacker.input.ready, unpacker.output.valid & unpacker.output.ready
        m.d.sync += parts.eq(parts + Mux(taken, 5, 0) - Mux(left, 4, 0))
        return [
            parts <= 4,
            unpacker.output.valid == (self.valid | (parts == 4)),
            ~taken | left,  # a word is taken on the edge on which its beat leaves
            ~(self.ready & self.valid) | left,
        ]


class Parts(Shadow):
    """The loader writes every word once, in order, and takes just the memory words that it says."""

    inputs = {"go": 1, "words": 4, "element": 2, "valid": 1}

    block, machine = Loader, MACHINE

    def rules(self, m, loader):
        written, taken, words, element, runs = Signal(5), Signal(5), Signal(4), Signal(2), Signal()
        start = Signal()
        m.d.comb += [
            start.eq(self.go & ~runs & (self.words != 0) & (self.element < len(ELEMENTS))),
            loader.start.eq(start),
            loader.words.eq(Mux(start, self.words, words)),
            loader.element.eq(Mux(start, self.element, element)),
            loader.destination.eq(100),
            loader.input.valid.eq(self.valid & runs),
        ]
        with m.If(start):
            m.d.sync += [words.eq(self.words), element.eq(self.element), runs.eq(1), written.eq(0), taken.eq(0)]
        with m.If(loader.write):
            m.d.sync += written.eq(written + 1)
        with m.If(loader.input.valid & loader.input.ready):
            m.d.sync += taken.eq(taken + 1)
        with m.If(loader.done):
            m.d.sync += runs.eq(0)
        last = written + 1 == words
        return [
            ~loader.write | (runs & (loader.address == 100 + written)),
            loader.done == (loader.write & last),
            ~loader.done | (loader.input.ready & (taken + 1 == loader.memory_words)),
            ~(runs & self.valid) | loader.write,  # a word that is there is never kept waiting
            ~runs | (taken <= loader.memory_words),
        ]


class Digits(Shadow):
    """The writer of K and V offers a write per plane, a plane apart, keeps it until it is taken, and then is done."""

    inputs = {"go": 1, "scale": 1, "planes": 3, "position": 6, "by_lanes": 1, "ready": 1}

    block, machine = KvWriter, MACHINE

    def rules(self, m, writer):
        busy, scaling, count, planes, position, by_lanes = (
            Signal(), Signal(), Signal(3), Signal(3), Signal(6), Signal(),
        )  # fmt: skip
        start, before = Signal(), Signal.like(writer.writes.payload)
        held = Signal()
        m.d.comb += [
            start.eq(self.go & ~busy & (self.planes != 0) & (self.planes <= 5)),
            writer.flush.eq(start & ~self.scale),
            writer.flush_scale.eq(start & self.scale),
            writer.address.eq(1000),
            writer.scale_address.eq(3000),
            writer.plane_words.eq(100),
            writer.planes.eq(planes),
            writer.position.eq(position),
            writer.by_lanes.eq(by_lanes),
            writer.writes.ready.eq(self.ready),
        ]
        with m.If(start):
            m.d.sync += [
                busy.eq(1), scaling.eq(self.scale), count.eq(0), planes.eq(self.planes), position.eq(self.position),
                by_lanes.eq(self.by_lanes),
            ]  # fmt: skip
        written = writer.writes.valid & writer.writes.ready
        last = Mux(scaling, 1, planes) == count + 1
        with m.If(written):
            m.d.sync += [count.eq(count + 1), busy.eq(~last)]
        m.d.sync += [before.eq(writer.writes.payload), held.eq(writer.writes.valid & ~writer.writes.ready)]
        payload, place = writer.writes.payload, Signal(28)
        m.d.comb += place.eq(payload.address - Mux(scaling, 3000, 1000 + 100 * count))
        return [
            writer.writes.valid == busy,
            ~held | (payload.as_value() == before.as_value()),
            ~written | (place < 16),  # within the plane, or behind the scales' beginning: 64 positions of 2 bytes
            ~writer.writes.valid | payload.mask.any(),
            writer.done == (written & last),
        ]


class Looking(Shadow):
    """The front: an instruction that is ready has none but its bits; a memory that answers never keeps it from one."""

    inputs = {"word": 256, "begin": 1, "take": 1, "busy": 1, "wanted": 1, "position": 3}
    longest = 19  # a line that lacks: 8 words, and the 7 states around them twice

    block, machine = Front, WIDE

    def rules(self, m, front):
        left, waits, told, asked = Signal(5), Signal(6), Signal(), Signal()
        m.d.comb += [
            front.start.eq(self.begin & told & ~asked),
            front.free.eq(~self.busy),
            front.wanted.eq(self.wanted),
            front.position.eq(self.position),
            front.valid.eq(front.reading & (left != 0)),
            front.done.eq(front.valid & (left == 1)),
            front.take.eq(front.ready & self.take),
            # a header of this machine in front, anything behind it
            front.word.eq(Mux(told, self.word, Cat(MAGIC_BITS, TAG_BITS, self.word[96:]))),
        ]
        with m.If(front.ask):
            m.d.sync += left.eq(front.count)
        with m.Elif(front.valid):
            m.d.sync += left.eq(left - 1)
        with m.If(front.checked):
            m.d.sync += told.eq(1)
        ends = front.take & ~front.skipped & (front.instruction.operation == OPERATIONS["STOP"].code)
        with m.If(front.start):
            m.d.sync += asked.eq(1)
        with m.Elif(ends):
            m.d.sync += asked.eq(0)
        with m.If(front.ready | (front.status != 0) | ~asked):
            m.d.sync += waits.eq(0)
        with m.Elif(front.free | front.reading):
            m.d.sync += waits.eq(waits + 1)
        legal = [
            (front.instruction.operation == operation.code)
            & ~(front.instruction.as_value() & ~_bits(operation.fields)).any()
            for operation in OPERATIONS.values()
        ]
        return [~front.ready | Cat(legal).any(), waits <= self.longest, ~front.done | front.reading]


def _bits(names) -> int:
    fields = [FIELDS[name] for name in ("operation", "last_only", *names)]
    return sum({1 << bit for one in fields for bit in range(one.low, one.low + one.bits)})


PROOFS = {
    Bursts: (reader, 14),
    Beats: (five_trits, 10),
    Parts: (loader, 12),
    Digits: (kv_writer, 10),
    Looking: (front, 26),
}
FAULTS = [
    (Bursts, "last.eq(transfer & (left == 1))", "last.eq(transfer & (left == 2))"),
    (Bursts, "Mux(bursts != 1, self.jump, 0)", "self.count"),
    (Bursts, "beyond.eq(end > self.limit)", "beyond.eq(begin > self.limit)"),
    (Bursts, "asking.eq(bursts != 1)", "asking.eq(1)"),
    (Beats, "left.eq(count + 1 if count < _PARTS else 0)", "left.eq(count + 1 if count < _PARTS - 1 else 0)"),
    (Beats, "self.output.ready & (left != _PARTS)", "self.output.ready"),
    (Parts, "running & (last_part | (left == 1))", "running & last_part"),
    (Parts, "part.eq(Mux(last_part, 0, part + 1))", "part.eq(part + 1)"),
    (Digits, "scaling | (plane == self.planes - 1)", "scaling | (plane == self.planes)"),
    (Digits, "transfer = self.writes.valid & self.writes.ready", "transfer = self.writes.valid"),
    (Looking, "known.eq(~(one.as_value() & strange).any())", "known.eq(1)"),
    (Looking, "fill.eq(self.free)", "fill.eq(0)"),
]


def _marked(rules, *fault):
    """A case; the front's lines of instructions make its proofs longer."""
    return pytest.param(rules, *fault, marks=[pytest.mark.slow] if rules is Looking else [])


@pytest.mark.parametrize("rules", [_marked(rules) for rules in PROOFS])
def test_no_sequence_of_inputs_breaks_a_rule(rules, tmp_path):
    prove(rules(), tmp_path, PROOFS[rules][1], from_reset=True)


@pytest.mark.parametrize(("rules", "old", "new"), [_marked(*case) for case in FAULTS])
def test_a_mutated_copy_is_found(rules, old, new, tmp_path):
    module, steps = PROOFS[rules]
    copy = mutated(module, old, new)
    with pytest.raises(RuntimeError, match="proof did fail"):
        prove(rules(copy[rules.block.__name__]), tmp_path, steps, from_reset=True)
