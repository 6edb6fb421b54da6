"""Faults seeded into controller and crossing, one at a time: a battery of reads and writes sees every one."""

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import hw.memory
from tests.hw.memory.bench import Bench, Read, Reset, Write, naive, tiny
from tests.hw.seeded import Fault

FILES = ("bank", "target", "words", "controller", "crossing", "fast")  # in the order in which they import each other
CROSSING = ("crossing", "fast")  # their battery runs behind a port of half the clock
# times that are longer than a command takes to be found again, so that a shorter one shows
CHIP = tiny(power_up_ns=2000, mrd_clocks=8, rcd_ns=40, rp_ns=40, ras_ns=60, rc_ns=100, rrd_ns=40)
SWIFT = tiny(power_up_ns=2000)  # shorter ones, which hide nothing that is found too early


FAULTS = [
    Fault("bank", "column.load(timing.rcd - ahead)", "column.load(1)"),
    Fault("bank", "precharge.load(timing.ras - ahead)", "precharge.load(1)"),
    Fault("bank", "reopen.load(timing.rp - ahead)", "reopen.load(1)"),
    Fault("bank", "written = burst - 1 + timing.wr", "written = burst"),
    Fault("bank", "precharge.at_least(burst - ahead)", "precharge.at_least(1)"),
    Fault("bank", "m.d.sync += self.open.eq(0)", "m.d.sync += self.open.eq(self.open)"),
    Fault("bank", "m.If(self.left < clocks):", "m.If(self.left > clocks):"),
    Fault("words", "Cat(gathered, self.beat)[self.beat_bits :]", "Cat(self.beat, gathered)[: self.word_bits]"),
    Fault("words", "self.room.eq(claimed != self.depth)", "self.room.eq(1)"),
    Fault("words", "self.keep.eq(~write.mask", "self.keep.eq(write.mask"),
    Fault("words", "write.mask.eq(write.mask >> self.beat_bits // 8)", "write.mask.eq(write.mask)"),
    Fault("words", "last.eq((rest == 1) & (waiting == 0))", "last.eq(rest == 1)"),
    Fault("words", "self.part.eq(self.part + 1)", "self.part.eq(self.part)"),
    Fault("controller", "self.timing.cas + IO_EDGES", "self.timing.cas + IO_EDGES + 1"),
    Fault(
        "controller", "until_write.load(timing.cas + burst + 1 - ahead)", "until_write.load(timing.cas + burst - ahead)"
    ),
    Fault("controller", "Mux(self.ready, 0, -1)", "0"),
    Fault("controller", "interval = self.timing.refresh", "interval = self.timing.refresh * 3 // 2"),
    Fault("controller", "m.d.sync += self.due.eq(0)", "m.d.sync += self.due.eq(1)"),
    Fault("controller", "self.due & Cat(bank.precharge for bank in self.banks).all()", "self.due"),
    Fault("controller", "wait.load(timing.rfc - ahead)", "wait.load(1)"),
    Fault("controller", "wait.load(timing.mrd - ahead)", "wait.load(1)"),
    Fault("controller", "_PRECHARGE_ALL = 1 << 10", "_PRECHARGE_ALL = 0"),
    Fault("controller", '"wait", timing.power_up)', '"wait", 1)'),
    Fault("controller", "with m.If(again == 1):", "with m.If(again == 2):"),
    Fault("controller", "| self.timing.cas << 4", "| 3 << 4"),
    Fault("controller", "until_activate.load(timing.rrd - ahead)", "until_activate.load(1)"),
    Fault("controller", "wait.load(timing.rfc)", "wait.load(1)"),
    Fault("controller", "free, bank, row = ~self.sent_before,", "free, bank, row = Signal(init=1),"),
    Fault("controller", "moved.eq((self.request.valid & self.request.ready) | ", "moved.eq("),
    Fault("controller", "self.read.takes_over.eq(ends_row)", "self.read.takes_over.eq(0)"),
    Fault("controller", "ends_row.eq(self.advance & self.column.all())", "ends_row.eq(0)"),
    Fault("controller", "self.kept.eq(self.advance & ~ends_row)", "self.kept.eq(self.advance)"),
    Fault("controller", "(self.writes.valid & self.writes.ready) | self.rows_change", "self.rows_change"),
    Fault(
        "controller", "self.read.changed.eq(moved | (self.rows_change & ~self.prepares))", "self.read.changed.eq(moved)"
    ),
    Fault("controller", "self.ahead.changed.eq(moved | moved_before |", "self.ahead.changed.eq(moved |"),
    Fault("controller", "Mux(reading, of_read, of_ahead)", "of_ahead"),
    Fault("controller", "going, pending = running & ~self.due,", "going, pending = running,"),
    Fault("controller", "final.eq(left == 1)", "final.eq(left == 2)"),
    Fault("target", "self.known.eq(~self.changed)", "self.known.eq(1)"),
    Fault("target", "== self.row)", "== self.row | 1)"),
    Fault("controller", "at[column_bits:] + 1", "at[column_bits:] + 2"),
    Fault("controller", "~pending & self.wanted", "self.wanted"),
    Fault("controller", "busy.eq(~final)", "busy.eq(1)"),
    Fault("controller", "until_read.load(burst - ahead)", "until_read.load(burst - 1 - ahead)"),
    Fault("controller", "settled = timing.rfc + timing.ras + self.geometry.burst + timing.wr", "settled = 1"),
    Fault("crossing", "closed = Signal(init=1)", "closed = Signal(init=0)"),
    Fault("crossing", "init=CLOSED_EDGES - 1)", "init=0)"),
    Fault("crossing", "m.d.memory += self.reset.eq(closed)", "m.d.memory += self.reset.eq(0)"),
    Fault("crossing", 'ResetInserter({"memory": self.reset})(block)', "block"),
    Fault("crossing", "asked == answered", "asked == asked"),
    Fault("crossing", "m.d.memory += seen.eq(asked)", "m.d.memory += seen.eq(~asked)"),
    Fault("crossing", "[kept.eq(self.input.payload), asked.eq(~asked)]", "asked.eq(~asked)"),
    Fault("crossing", "filled_gray != emptied_there ^ full", "filled_gray != emptied_there"),
    Fault("crossing", "write.data.eq(self.input.payload)", "write.data.eq(self.input.payload[1:])"),
    Fault("crossing", "emptied_gray.eq(less ^ less[1:])", "emptied_gray.eq(less)"),
    Fault(
        "crossing",
        "self.inner_request.valid.eq(requests.output.valid & ~waits)",
        "self.inner_request.valid.eq(requests.output.valid)",
    ),
    Fault(
        "fast",
        'ResetInserter({"memory": crossing.reset})(DomainRenamer("memory")(inner))',
        'DomainRenamer("memory")(inner)',
    ),
]


def source(name: str) -> str:
    """Text of a file of the room."""
    return Path(hw.memory.__path__[0], f"{name}.py").read_text(encoding="utf-8")


def test_every_fault_is_about_text_that_is_there_once():
    for fault in FAULTS:
        assert fault.within(source(fault.file)) != source(fault.file)


def controllers_with(fault: Fault | None):
    """The controllers of the room's files, one of them changed: of one clock, of two."""
    saved = {name: import_module(f"hw.memory.{name}") for name in FILES}
    try:
        for name in FILES:
            text = source(name)
            if fault and fault.file == name:
                text = fault.within(text)
            module = ModuleType(f"hw.memory.{name}")
            sys.modules[module.__name__] = module
            exec(compile(text, f"{name}.py", "exec"), module.__dict__)
        return sys.modules["hw.memory.controller"].SdramController, sys.modules["hw.memory.fast"].FastController
    finally:
        sys.modules.update({f"hw.memory.{name}": module for name, module in saved.items()})


def words_from(number: int, count: int) -> list[Write]:
    """Writes of whole words, then of parts of two of them."""
    whole = [
        Write(number + i, (number + i + 1) * 0x0123456789ABCDEF0F1E2D3C4B5A6978, (1 << 32) - 1) for i in range(count)
    ]
    return [*whole, Write(number, (1 << 256) - 1, 0x80018421), Write(number + 1, 0, 0x00F0 | 1 << 31)]


# 256 bits: two bursts a word, two words a row. Rows of one bank lie eight words apart. Resets may spoil word 40.
SPOILT = Write(40, 1 << 200, (1 << 32) - 1)
WIDE = [
    *words_from(0, 3), Read(0, 3), Read(8, 1), Write(16, 77, 0xFF), Read(8, 1), Read(16, 1), Read(0, 20, slow=3),
    Write(2, 99, 3), Read(2, 1), Write(10, 5, 0xF), Read(2, 1), Read(9, 1, gap=30), Read(0, 24), *words_from(30, 2),
    SPOILT, Reset(2), Read(30, 2), SPOILT, Reset(8), SPOILT, Reset(17),
    Read(0, 12, beside=Write(20, 3, 3, 25)), Read(20, 1), Write(63, 8, 1), Read(62, 4), Reset(145), Read(0, 2),
    Read(4, 1), Write(2, 5, 1), Read(2, 3, gap=15),  # the row ahead is open, and its bank is counted while a write ends
]  # fmt: skip
# 16 bits: bursts of one beat, so that a row may be closed as soon as it may at all; more words than the queue holds
NARROW = [
    *(Write(i, 3 * i + 1, 3) for i in range(40)), Read(0, 40, slow=7), Read(0, 5), Read(128, 1), Write(1, 0x1234, 2),
    Read(0, 3, beside=Write(2000, 9, 3, 2)), Read(2000, 1),
    *(Write(128 * i, i, 3) for i in range(4)), *(Read(128 * i, 1) for i in range(6)),
    Read(20, 40), Read(31, 1), Read(160, 1), Read(31, 3),  # into the next row: while it is open, from the last word on
]  # fmt: skip


def runs(controllers, file: str) -> tuple[list[str], int]:
    """What the batteries say about a fault in that file, and the edges that they took."""
    found, edges, crossed = [], 0, file in CROSSING
    for chip, word_bits, battery in ((CHIP, 256, WIDE), (CHIP, 16, NARROW), (SWIFT, 16, NARROW)):
        how = {"controller": controllers[crossed], "ratio": 1 + crossed}
        try:
            bench = Bench(chip, 100e6, word_bits, **how).run(battery, limit=6000)
        except AssertionError as error:
            return [str(error)], edges
        wrong = bench.words != naive(battery, CHIP.bytes * 8 // word_bits, word_bits)
        found += [*bench.model.messages, *["wrong words"] * wrong]
        edges += bench.edge
    return found, edges


@pytest.fixture(scope="module")
def edges():
    """By file, of the controllers as they are, about which nothing is to be said."""
    taken = {}
    for file in ("controller", "crossing"):
        found, count = runs(controllers_with(None), file)
        assert found == []
        taken |= dict.fromkeys(CROSSING if file in CROSSING else set(FILES) - set(CROSSING), count)
    return taken


def test_the_batteries_say_nothing_about_the_controllers_as_they_are(edges):
    assert len(edges) == len(FILES)


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.file}: {fault.new}")
def test_a_fault_is_seen(fault, edges):
    found, taken = runs(controllers_with(fault), fault.file)
    assert found or taken > edges[fault.file]  # a rule, a word, a hang, or a wait
