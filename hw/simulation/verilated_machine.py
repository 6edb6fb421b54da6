"""The whole-token machine compiled by Verilator: tokens in, tokens out, and the cycles of every instruction."""

import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from hw.errors import InputError
from hw.memory.bench import CHIP_HEADER, chip_numbers
from hw.memory.chip import SdramChip
from hw.process.verilator import CACHE, compile_program
from hw.program.image import Image
from hw.program.instructions import OPERATIONS
from hw.program.interpreter import Status
from hw.program.machine import MachineConfig
from hw.simulation.sdram_machine import sdram_machine_verilog
from hw.verilog import MACHINE_NAME, machine_verilog

__all__ = ["HARNESS", "MachineStopped", "Sdram", "Step", "VerilatedMachine", "build_machine", "generate"]

HARNESS = Path(__file__).with_name("verilated_machine.cpp")
_BROKEN = 3  # exit status of the harness
_NAMES = {operation.code: name for name, operation in OPERATIONS.items()}
_WORDS = {
    Status.NOT_AN_IMAGE: "the memory does not begin with a program",
    Status.OTHER_CONFIGURATION: "the program is for another configuration",
    Status.UNKNOWN_INSTRUCTION: "an instruction has no meaning",
    Status.CONTEXT_FULL: "K and V have no room for a further token",
    Status.UNKNOWN_TOKEN: "the token is beyond the vocabulary",
    Status.MEMORY_SILENT: "memory did not answer",
    Status.OUTSIDE_MEMORY: "an address lies beyond the memory",
    Status.WRONG_BURST: "a burst holds fewer or more words than the tiles of its GEMM take",
}


class MachineStopped(RuntimeError):
    """The machine stopped with a status other than 0."""

    def __init__(self, status: int):
        self.status = Status(status)
        super().__init__(f"the machine stopped with status {status}: {_WORDS[self.status]}")


class Step(NamedTuple):
    """What one token came to: the next id (None where it was not wanted), ``(operation, cycles)`` in order."""

    token: int | None
    trace: list[tuple[str, int]]
    saturated: bool
    position: int

    @property
    def cycles(self) -> int:
        """Edges from the one that fetches the first instruction to the end of the last."""
        return sum(cycles for _, cycles in self.trace)


class Sdram(NamedTuple):
    """The memory of a machine: a chip behind its controller, both ``ratio`` times as fast as the machine's clock."""

    chip: SdramChip
    clock_hz: float  # of the machine
    ratio: int = 1

    @property
    def chip_hz(self) -> float:
        """Clock of chip and controller."""
        return self.ratio * self.clock_hz

    @property
    def numbers(self) -> bytes:
        """What the simulated chip wants to know, and the ratio."""
        numbers = chip_numbers(self.chip, self.chip_hz, self.chip.timing(self.chip_hz).cas)
        return struct.pack(f"<{len(numbers)}dI", *numbers, self.ratio)


class VerilatedMachine:
    """A running simulation of one machine and its memory; use it as a context manager.

    ``latency``: edges from a request to its first word; ``stalls``: one byte 0 or 1 per edge, again and again: 0 keeps
    words and writes back. ``sdram``: that memory instead, for which the program was built.
    """

    def __init__(self, image: Image, program: Path, latency: int = 8, stalls: bytes = b"", sdram: Sdram | None = None):
        header = image.header
        self._bytes = header.memory_words * image.machine.word_bytes
        data = image.memory.tobytes()
        sizes = (image.machine.word_bytes, len(data), max(header.memory_words, len(data) // image.machine.word_bytes))
        chip = b""
        if sdram:
            if self._bytes > sdram.chip.bytes:
                raise InputError(
                    f"memory of the program must be at most the {sdram.chip.bytes:,} bytes of {sdram.chip.name}, not "
                    f"{self._bytes:,}"
                )
            chip, stalls = sdram.numbers, b""
        self._process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self._send(struct.pack("<5I", *sizes, latency, len(stalls)) + chip + data + stalls)

    def __enter__(self) -> "VerilatedMachine":
        """The simulation itself."""
        return self

    def __exit__(self, kind: type | None, *_: object) -> None:
        """End the simulation.

        Raises:
            RuntimeError: a rule of the chip was broken.
        """
        self._process.stdin.close()
        self._process.stdout.close()
        if self._process.wait() == _BROKEN and kind is None:
            raise RuntimeError("the controller broke a rule of the chip, see above: a defect")

    def step(self, token: int, wanted: bool = True) -> Step:
        """Take one token in.

        Raises:
            MachineStopped: the machine stopped; it needs another simulation.
        """
        self._send(struct.pack("<I", token | wanted << 31))
        status, answer, saturated, position, count = struct.unpack("<5I", self._receive(20))
        numbers = struct.unpack(f"<{2 * count}I", self._receive(8 * count))
        if status:
            raise MachineStopped(status)
        trace = [(_NAMES[code], cycles) for code, cycles in zip(numbers[::2], numbers[1::2], strict=True)]
        return Step(answer if wanted else None, trace, bool(saturated), position)

    def seek(self, position: int) -> None:
        """Go on at another position: 0 starts anew, a smaller one keeps a prefix of K and V."""
        self._send(struct.pack("<2I", 0xFFFFFFFE, position))

    def memory(self) -> np.ndarray:
        """The whole memory, uint8."""
        self._send(struct.pack("<I", 0xFFFFFFFF))
        return np.frombuffer(self._receive(self._bytes), np.uint8)

    def _send(self, data: bytes) -> None:
        self._process.stdin.write(data)
        self._process.stdin.flush()

    def _receive(self, count: int) -> bytes:
        data = self._process.stdout.read(count)
        if len(data) < count:
            raise RuntimeError(f"the simulation ended early; exit status {self._process.wait()}")
        return data


def build_machine(machine: MachineConfig, cache: Path = CACHE, sdram: Sdram | None = None) -> Path:
    """Compile the machine, with the controller of ``sdram`` if given; the same Verilog and harness are compiled once.

    Raises:
        InputError: Verilator, a C++ compiler or make is missing.
        RuntimeError: the compilation failed.
    """
    if sdram:
        text = sdram_machine_verilog(machine, *sdram)
        return compile_program(text, MACHINE_NAME, HARNESS, cache=cache, headers=[CHIP_HEADER])
    return compile_program(machine_verilog(machine), MACHINE_NAME, HARNESS, cache=cache)


def generate(machine: VerilatedMachine, prompt: Sequence[int], count: int) -> list[Step]:
    """Prompt tokens, then ``count`` greedy ones: a step each."""
    steps = [machine.step(token, wanted=False) for token in prompt[:-1]]
    token = prompt[-1]
    for _ in range(count):
        steps.append(machine.step(token))
        token = steps[-1].token
    return steps
