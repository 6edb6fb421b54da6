"""Traffic on the Verilated controller with a checking chip: bandwidth, latency, wrong words, broken rules."""

import json
import random
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from hw.memory.chip import SdramChip
from hw.memory.controller import SdramController
from hw.memory.fast import FastController
from hw.memory.top import SDRAM_NAME, sdram_verilog
from hw.process.verilator import compile_program

__all__ = [
    "CHIP_HEADER",
    "PORTS_HEADER",
    "Operation",
    "Outcome",
    "Setup",
    "chip_numbers",
    "measure",
    "random_words",
    "sequential",
]

CHIP_HEADER = Path(__file__).with_name("sdram_chip.h")
PORTS_HEADER = Path(__file__).with_name("verilated_ports.h")
_HARNESS = Path(__file__).with_name("memory_bench.cpp")
_ALWAYS = 256  # odds of 256 that a word is taken


class Operation(NamedTuple):
    """A read of ``count`` words, or where that is 0 a write of random bytes of one; ``gap``: edges in front of it."""

    address: int
    count: int = 0
    gap: int = 0

    def line(self) -> str:
        """As the bench reads it."""
        return f"r {self.address} {self.count} {self.gap}" if self.count else f"w {self.address} {self.gap}"


class Outcome(NamedTuple):
    """What a run came to; edges are the chip's, from its initialisation to the last word."""

    edges: int
    words: int  # read
    written: int
    wrong: int  # words, and 1 where the chip holds something else in the end
    violations: int
    messages: list[str]  # the first breach of each rule
    commands: dict[str, int]
    first_edges: float  # from a request's offer to its first word, on average; only reads that no other preceded
    hung: bool
    word_beats: int

    @property
    def efficiency(self) -> float:
        """Share of the edges on which data moved."""
        return (self.words + self.written) * self.word_beats / max(1, self.edges)


def chip_numbers(chip: SdramChip, clock_hz: float, cas: int) -> list[float]:
    """What ``sdram_chip.h`` wants to know, in its order."""
    return [
        chip.data_bits, chip.banks, chip.rows, chip.columns, chip.rcd_ns, chip.rp_ns, chip.ras_ns, chip.rc_ns,
        chip.rrd_ns, chip.wr_ns, chip.rfc_ns, chip.mrd_clocks, chip.refresh_ns, chip.power_up_ns, chip.init_refreshes,
        chip.longest_open_ns, 1e9 / clock_hz, cas,
    ]  # fmt: skip


class Setup(NamedTuple):
    """A controller's Verilog, with the ports of ``SdramTop``, and the chip that it is for.

    ``ratio``: edges of controller and chip per edge of the port.
    """

    verilog: str
    chip: SdramChip
    clock_hz: float
    cas: int
    word_bits: int
    ratio: int = 1

    @classmethod
    def of(cls, controller: SdramController | FastController, clock_hz: float, ratio: int = 1) -> "Setup":
        """Of ours."""
        verilog = sdram_verilog(controller)
        return cls(verilog, controller.chip, clock_hz, controller.timing.cas, controller.word_bits, ratio)


def measure(
    setup: Setup, operations: Iterable[Operation], taken: int = _ALWAYS, ahead: bool = False, seed: int = 1
) -> Outcome:
    """Carry out ``operations`` in order, each once the one before has ended.

    ``taken``: odds of 256 that an edge takes the word that is offered. ``ahead``: a read is offered while words of the
    one before are still owed.

    Raises:
        InputError: Verilator, a C++ compiler or make is missing.
        RuntimeError: the compilation failed, or the bench ended early.
    """
    program = compile_program(setup.verilog, SDRAM_NAME, _HARNESS, headers=[CHIP_HEADER, PORTS_HEADER])
    numbers = chip_numbers(setup.chip, setup.clock_hz, setup.cas)
    lines = [
        " ".join(map(repr, map(float, numbers))),
        f"{setup.word_bits // 8} {taken} {int(ahead)} {seed} {setup.ratio}",
    ]
    with tempfile.TemporaryFile("w+", encoding="ascii") as file:  # operations are made as they are written
        file.writelines(f"{line}\n" for line in lines)
        file.writelines(f"{one.line()}\n" for one in operations)
        file.seek(0)
        done = subprocess.run([program], stdin=file, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the memory bench ended with exit status {done.returncode}: {done.stderr.strip()[-200:]}")
    found = json.loads(done.stdout)
    first_words, first_edges = found.pop("first_words"), found.pop("first_edges")
    beats = setup.word_bits // setup.chip.data_bits
    found["edges"] *= setup.ratio
    return Outcome(**found, first_edges=setup.ratio * first_edges / max(1, first_words), word_beats=beats)


def sequential(words: int) -> list[Operation]:
    """One read of so many words from the beginning."""
    return [Operation(0, words)]


def random_words(chip_words: int, count: int, writes: float, seed: int = 1) -> Iterator[Operation]:
    """Single words anywhere in the chip, of which a share is written."""
    draw = random.Random(seed)
    for _ in range(count):
        yield Operation(draw.randrange(chip_words), 0 if draw.random() < writes else 1)
