"""Traffic on LiteDRAM's DDR3 controller behind our port, Verilated with a simulated PHY and chip."""

import json
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from hw.memory.bench import PORTS_HEADER, Operation
from hw.memory.ddr3.chips import CAS, Ddr3Chip, Skew
from hw.memory.ddr3.memory import TOP_NAME, simulated_ddr3
from hw.memory.results import MemoryRecord
from hw.process.verilator import compile_program

__all__ = ["SKEW", "Ddr3Outcome", "measure_ddr3"]

SKEW: tuple[Skew, ...] = ((1, 2, 5), (2, 0, 3))  # of the two bytes, where no other is asked for
PEAK_BITS = 64  # that a chip of 16 pins moves per clock cycle of its controller: two of its own, two beats each

_HARNESS = Path(__file__).with_name("ddr3_bench.cpp")
_ALWAYS = 256  # odds of 256 that a word is taken


class Ddr3Outcome(NamedTuple):
    """What a run came to; edges run from the first operation to the last word."""

    levelled: int  # edges from power-up to ``ready``
    delays: tuple[int, ...]  # of each byte
    slips: tuple[int, ...]
    edges: int
    words: int  # read
    written: int
    wrong: int  # words
    violations: int  # of times that LiteDRAM's checker knows
    messages: list[str]  # the first few
    first_edges: float  # from a request's offer to its first word, on average; only reads that no other preceded
    restarts: int
    hung: bool
    ready: bool
    word_bits: int

    @property
    def efficiency(self) -> float:
        """Share of what the chip's data pins could have moved."""
        return (self.words + self.written) * self.word_bits / PEAK_BITS / max(1, self.edges)

    def record(self, chip: Ddr3Chip, clock_hz: float, traffic: str) -> MemoryRecord:
        """As a row of the results; the checker does not count commands."""
        return MemoryRecord(
            controller="litedram",
            chip=chip.name,
            clock_hz=clock_hz,
            cas=CAS,
            word_bits=self.word_bits,
            traffic=traffic,
            words=self.words,
            written=self.written,
            edges=self.edges,
            efficiency=round(self.efficiency, 6),
            bytes_per_s=round(self.efficiency * clock_hz * PEAK_BITS / 8, 1),
            first_edges=round(self.first_edges, 2),
            commands={},
            violations=self.violations,
            messages=tuple(self.messages),
            wrong=self.wrong,
        )


def measure_ddr3(
    chip: Ddr3Chip,
    clock_hz: float,
    word_bits: int,
    operations: Iterable[Operation],
    taken: int = _ALWAYS,
    ahead: bool = False,
    resets: int = 0,
    seed: int = 1,
    skew: tuple[Skew, ...] = SKEW,
) -> Ddr3Outcome:
    """Carry out ``operations`` in order, each once the one before has ended; what they read is written before.

    ``taken``: odds of 256 that an edge takes the word that is offered. ``ahead``: a read is offered while words of the
    one before are still owed. ``resets``: odds of 65536 that an edge resets the port, which ends the operation.

    Raises:
        InputError: LiteDRAM, Verilator, a C++ compiler or make is missing.
        RuntimeError: the compilation failed, or the bench ended early.
    """
    verilog = simulated_ddr3(chip, clock_hz, word_bits, skew)
    program = compile_program(verilog, TOP_NAME, _HARNESS, headers=[PORTS_HEADER])
    size = word_bits // 8
    with tempfile.TemporaryFile("w+", encoding="ascii") as file:
        file.write(f"{size} {taken} {int(ahead)} {resets} {seed} {chip.bytes // size}\n")
        file.writelines(f"{one.line()}\n" for one in operations)
        file.seek(0)
        done = subprocess.run([program], stdin=file, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"the DDR3 bench ended with exit status {done.returncode}: {done.stderr.strip()[-200:]}")
    *said, found = done.stdout.strip().splitlines()
    complaints = [line.strip() for line in said if "violation" in line]
    return _outcome(json.loads(found), complaints, chip.data_bits // 8, word_bits)


def _outcome(found: dict, complaints: list[str], bytes_: int, word_bits: int) -> Ddr3Outcome:
    """From the bench's own words."""
    delays, slips = found.pop("delays"), found.pop("slips")
    first_words, first_edges = found.pop("first_words"), found.pop("first_edges")
    return Ddr3Outcome(
        **found,
        delays=tuple(delays >> 3 * i & 7 for i in range(bytes_)),
        slips=tuple(slips >> 2 * i & 3 for i in range(bytes_)),
        first_edges=first_edges / max(1, first_words),
        violations=len(complaints),
        messages=complaints[:5],
        word_bits=word_bits,
    )
