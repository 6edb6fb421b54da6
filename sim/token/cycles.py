"""``TokenCycles``: the cycles of every instruction of a token, from the program and the sizes that it names alone.

It computes no value. An instruction's cycles run from the edge behind the end of the one before it to the edge that
ends it; they are what the machine's ``counter`` shows with ``retired`` (``docs/token_machine.md``).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from hw.division import ceil_divide
from hw.errors import InputError
from hw.program.image import Image
from hw.program.instructions import ELEMENTS, Instruction
from hw.program.machine import LINE_INSTRUCTIONS
from sim.token.port import GemmSteps, Memory, fetch, fetched, pattern, read, step_gemm, write

__all__ = ["InstructionCycles", "TokenCycles"]

_READY, _SKIPPED = 6, 3  # edges from looking up an instruction until it can be taken; the same, not wanted
_PASS = 14  # a pass of N words takes N + 14 edges: start, words, depth of the lanes
_SCAN, _POWERS = 5, 7  # the same of a pass that only finds a maximum; of one until its powers are summed up
_ROW_DIVISION = 24  # of a beat's number, a bit each
_DIVISION, _ROOT = 15, 24  # of the scale unit, with the edge that starts it
_DRAIN, _ARGMAX_DRAIN = 13, 8  # from the last beat of sums, or the last word of the last row, to the end
_TRIT_BITS, _STORED_BYTES = 2, 2  # of a digit of K or V; of a stored scale
_PARTS = {"int8": 4, "int16": 2, "uint16": 2, "int32": 1}  # scratch words of a memory word


class InstructionCycles(NamedTuple):
    """One instruction that ran: its number, operation, cycles, and how many vectors the array took in meanwhile."""

    number: int
    operation: str
    cycles: int
    issues: int = 0


class TokenCycles:
    """The machine's clock: position and edge since reset go on from token to token, as the machine's own do."""

    def __init__(
        self, image: Image, latency: int = 8, stalls: bytes = b"", position: int = 0, memory: Memory | None = None
    ):
        """``memory``: behind reset, instead of a pattern of that latency with those stalls."""
        self.machine, self.header, self.program = image.machine, image.check(), image.program()
        self.memory = pattern(latency, stalls) if memory is None else memory
        self.position, self.block, self.token = position, 0, 0
        self._begun = False  # a token has ended
        self._lines: dict[int, int] = {}  # lines of instructions that are there, by place
        self._found: int | None = None  # the edge that finds the next instruction; None: it is being fetched
        self.edge = read(self.memory, 1, 0, self.machine.instruction_words, 1, 1) + 2  # the header and its check

    def step(self, wanted: bool = True, token: int = 0) -> list[InstructionCycles]:
        """Take one token in, whose id matters only where cycles depend on addresses."""
        found, number = list[InstructionCycles](), self.header.entry if self._begun else 0
        self.edge += 1  # takes the token
        self.block, self.token = 0, token
        self._look_up(number, self.edge, self.edge)
        while True:
            one, begin = self.program[number], self.edge
            skipped = bool(one["last_only"] and not wanted)
            here = fetched(self.memory) + 1 if self._found is None else self._found
            ready = here + (_SKIPPED if skipped else _READY)
            taken = max(begin - 1, ready)  # it runs on the edge behind, and the front looks up the next
            self.edge, look = taken + 2, taken + 1
            ends, reads = one.operation == "STOP" and not skipped, one.operation in _READING and not skipped
            number, last = number + 1 if skipped else self._next(number, one), number
            if not (ends or reads):  # fetched while it runs
                self._look_up(number, look, look)
            issues = 0 if skipped else self._run(one)
            found.append(InstructionCycles(last, one.operation, self.edge - begin, issues))
            if reads:
                self._look_up(number, look, self.edge)
            if ends:
                self.position += 1
                self._begun = True
                self.edge += wanted  # hands the next token over
                return found

    def seek(self, position: int) -> None:
        """Go on at another position, which takes an edge."""
        self.position = position
        self.edge += 1

    def kv_address(self, one: Instruction) -> int:
        """The memory word that the first digit of a head's K or V goes to: tile, then the token's place in it."""
        machine, array = self.machine, self.machine.array
        tokens, numbers = (array.rows, array.cols) if one["by_lanes"] else (array.cols, array.rows)
        tile, place = divmod(self.position, tokens)
        tile *= machine.tile_words if one["by_lanes"] else one["stride"]
        return one["address"] + tile + place * numbers * _TRIT_BITS // (8 * machine.word_bytes)

    @property
    def visible(self) -> int:
        """Tokens of the present block that are worked on."""
        size = 1 << self.header.block_bits
        left = min(self.position + 1 - self.block * size, size)
        return ceil_divide(left, self.machine.stretch) * self.machine.stretch

    def _look_up(self, number: int, look: int, free: int) -> None:
        """Look an instruction up from edge ``look`` on; its line is fetched if it lacks, once memory is ``free``."""
        line, places = number // LINE_INSTRUCTIONS, self.machine.instruction_lines
        self._found = look if self._lines.get(line % places) == line else None
        if self._found is None:
            self._lines[line % places] = line
            per = self.machine.instruction_words
            words = LINE_INSTRUCTIONS * per
            fetch(self.memory, max(look, free) + 1, line * words + per, words)  # behind the header

    def address(self, one: Instruction) -> int:
        """The memory word that an instruction begins at."""
        return one.begin(self.machine.lanes, self.token, self.position, self.block)

    def _next(self, number: int, one: Instruction) -> int:
        if one.operation != "END":
            return number + 1
        self.block += 1
        if self.block << self.header.block_bits <= self.position:
            return one["address"]
        self.block = 0
        return number + 1

    def _run(self, one: Instruction) -> int:
        """Moves the clock behind the end of the instruction; vectors that the array took."""
        if one.operation in _GEMMS:
            return self._gemm(one)
        self.edge = _OTHERS[one.operation](self, one)
        return 0

    def words(self, one: Instruction) -> int:
        """Scratch words of a row."""
        return self.visible // self.machine.lanes if one["by_block"] else one["words"]

    def _gemm(self, one: Instruction) -> int:
        machine, array = self.machine, self.machine.array
        visible = self.visible if one["by_block"] else 0
        n, k = (visible, one["k"]) if visible and not one["by_lanes"] else (one["n"], visible or one["k"])
        column_tiles, folds = ceil_divide(n, array.cols), ceil_divide(k, array.rows)
        tiles, bursts = one["planes"] * folds, column_tiles * one["planes"] if one["by_lanes"] else 1
        words = column_tiles * tiles * machine.tile_words // bursts
        if not visible and one["burst"] != (words := machine.burst_words(column_tiles * tiles)):
            raise InputError(f"burst of {one.operation} must be {words} memory words, not {one['burst']}")
        groups = array.cols // machine.lanes
        takes = [1, array.cols] if one.operation == "ARGMAX" else [groups] * one["rows"]
        steps = GemmSteps(
            column_tiles, tiles, one["rows"], machine.tile_words, bursts, words, self.address(one), one["jump"],
            bool(one["packed"]), np.array(takes, np.int64), array.pipeline_latency, array.result_queue_depth,
        )  # fmt: skip
        last, issues = step_gemm(steps, self.memory, self.edge - 1)
        self.edge = last + (_ARGMAX_DRAIN if one.operation == "ARGMAX" else _DRAIN) + 1
        return int(issues)


_GEMMS = ("DEQ", "SCORE", "OACC", "ARGMAX")
_READING = (*_GEMMS, "LOAD", "ROW")  # which read memory


def _load(self: TokenCycles, one: Instruction) -> int:
    parts, words = _PARTS[ELEMENTS[one["element"]]], self.words(one)
    count = ceil_divide(words, parts)
    return read(self.memory, self.edge, self.address(one), count, parts, words - (count - 1) * parts) + 1


def _row(self: TokenCycles, one: Instruction) -> int:
    edge, left, parts = self.edge, one["words"], self.machine.array.rows // self.machine.lanes
    column_tile, column = divmod(self.token, self.machine.array.cols)
    beat = one["skip"] + column_tile * one["beats"] + column * self.machine.tile_words // self.machine.array.cols
    while left:
        asked = edge + 1 + (_ROW_DIVISION if one["packed"] else 0)
        if one["packed"]:  # five beats lie in four words
            taken = read(self.memory, asked, one["address"] + beat // 5 * 4, 4, 1, 1) + 1
        else:
            taken = read(self.memory, asked, one["address"] + beat, 1, 1, 1)
        written = min(parts, left)
        edge, left, beat = taken + written + 1, left - written, beat + self.machine.tile_words
    return edge


def _quant(self: TokenCycles, one: Instruction) -> int:
    words = self.words(one)
    scan = words + _SCAN
    others = (one["rows"] - 1) * (max(_DIVISION, scan) + words + 3)  # divided while the next one is scanned
    return self.edge + scan + others + _DIVISION + words + _PASS + 2


def _norm(self: TokenCycles, one: Instruction) -> int:
    words, rows = one["words"], 1 + one["split"]
    return self.edge + words + _SCAN + (1 + rows) * (words + _PASS) + _ROOT + _DIVISION + 4 + rows


def _kv(self: TokenCycles, one: Instruction) -> int:
    array, machine, words, edge = self.machine.array, self.machine, one["words"], self.edge
    size = (array.cols if one["by_lanes"] else array.rows) // machine.lanes
    head, scales = self.kv_address(one), one["scales"] + self.position * _STORED_BYTES // machine.word_bytes
    plane = one["stride"] if one["by_lanes"] else ceil_divide(words, size) * machine.tile_words
    for _ in range(one["rows"]):
        edge += words + _SCAN + _DIVISION + 2
        piece = head
        for first in range(0, words, size):
            edge += min(size, words - first) + _PASS
            edge = write(self.memory, edge - 1, piece, plane, one["planes"]) + 1
            piece += plane * one["planes"] if one["by_lanes"] else machine.tile_words
        edge = write(self.memory, edge, scales, 0, 1) + 1
        head, scales = head + one["jump"], scales + one["pitch"]
    return edge


def _wht(self: TokenCycles, one: Instruction) -> int:
    stages = (one["words"] * self.machine.lanes).bit_length() - 1
    return self.edge + 1 + stages * (one["words"] * one["rows"] + _PASS)


_OTHERS: dict[str, Callable[[TokenCycles, Instruction], int]] = {
    "STOP": lambda self, _: self.edge,
    "END": lambda self, _: self.edge,
    "LOAD": _load,
    "ROW": _row,
    "EMB": lambda self, one: self.edge + one["words"] + _PASS + 3,
    "NORM": _norm,
    "QUANT": _quant,
    "KV": _kv,
    "ROPE": lambda self, one: self.edge + one["words"] * one["rows"] + _PASS,
    "WHT": _wht,
    "EXP": lambda self, one: self.edge + one["rows"] * (2 * self.words(one) + _SCAN + _POWERS + 3) + _PASS - _POWERS,
    "ONORM": lambda self, one: self.edge + one["rows"] * (one["words"] + _DIVISION + 3) + _DRAIN,
    "GLU": lambda self, one: self.edge + one["words"] + _PASS,
    "ADD": lambda self, one: self.edge + one["words"] + _PASS,
}
