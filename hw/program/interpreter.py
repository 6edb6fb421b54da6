"""The golden interpreter: runs a program on its memory image, instruction by instruction, values alone.

It sees nothing of the model: every weight, constant and size comes from the image's bits. Its kernels are those of
``hw.token``, which define them; what it adds is where operands lie, and that is what gateware must equal: memory,
scratch, activation buffer and row registers after every instruction.
"""

from collections.abc import Callable
from enum import IntEnum

import numpy as np

from hw.division import ceil_divide
from hw.errors import InputError
from hw.program.image import Image
from hw.program.instructions import Instruction
from hw.program.kernels import KERNELS
from hw.token.formats import Flags, products
from hw.token.scales import Scale, StoredScales, multiply
from hw.trit import TRITS_PER_BYTE, unpack

__all__ = ["Interpreter", "Status"]


class Status(IntEnum):
    """Why a machine stopped."""

    OK = 0
    NOT_AN_IMAGE = 1  # the first word is no header
    OTHER_CONFIGURATION = 2  # the program is for another machine
    UNKNOWN_INSTRUCTION = 3  # no such operation, or a bit that it does not use
    CONTEXT_FULL = 4  # K and V have no room for a further token
    UNKNOWN_TOKEN = 5  # an id beyond the vocabulary
    MEMORY_SILENT = 6  # memory did not answer within the limit
    OUTSIDE_MEMORY = 7  # an address beyond the memory that the header speaks of
    WRONG_BURST = 8  # a GEMM whose weights take more or fewer memory words than it says


class Interpreter:
    """A machine's visible state, and its token step.

    ``watch`` is called behind every instruction with its number and the instruction.
    """

    def __init__(self, image: Image, watch: Callable[[int, Instruction], None] | None = None):
        self.config, self.header = image.machine, image.check()
        self.program = image.program()
        self.memory = np.zeros((self.header.memory_words, self.config.word_bytes), np.uint8)
        self.memory.reshape(-1)[: len(image.memory)] = image.memory
        machine = self.config
        self.scratch = np.zeros((machine.scratch_words, machine.lanes), np.int64)
        self.activations = np.zeros((machine.activation_words, machine.array.rows), np.int64)
        registers = machine.row_registers
        self.token_scales = Scale(*np.zeros((2, registers), np.int64))
        self.weight_scales = Scale(*np.zeros((2, registers), np.int64))
        self.maximum, self.total, self.shift = (np.zeros(registers, np.int64) for _ in range(3))
        self.position = self.block = self.token = self.best_id = 0
        self.begun = False  # a token has ended
        self.best: int | None = None
        self.flags, self.watch = Flags(), watch
        self._fixed: dict[tuple[int, ...], np.ndarray] = {}
        self._first_kept = min((self.memory.shape[0], *(i["address"] for i in self.program if i.operation == "KV")))

    def step(self, token: int, wanted: bool = True) -> int:
        """Take one token in at the position; the next token's id where it is wanted.

        Raises:
            InputError: an id beyond the vocabulary, or a full context.
        """
        if not 0 <= token < self.header.vocabulary:
            raise InputError(f"token must be 0 to {self.header.vocabulary - 1}, not {token}")
        if self.position >= self.header.context:
            raise InputError(f"context must be at most {self.header.context} tokens, as K and V have room for")
        self.token, self.block, number = token, 0, self.first
        while True:
            instruction = self.program[number]
            if wanted or not instruction["last_only"]:
                number = self._run(number, instruction)
                if self.watch:
                    self.watch(number, instruction)
                if instruction.operation == "STOP":
                    return self.best_id
            else:
                number += 1

    def write(self, prompt: list[int], count: int) -> list[int]:
        """``count`` greedy tokens behind a prompt."""
        for token in prompt[:-1]:
            self.step(token, wanted=False)
        found, token = [], prompt[-1]
        for _ in range(count):
            token = self.step(token)
            found.append(token)
        return found

    @property
    def first(self) -> int:
        """The instruction that the next token begins with."""
        return self.header.entry if self.begun else 0

    @property
    def context(self) -> int:
        """Tokens that the present one sees, itself included."""
        return self.position + 1

    @property
    def visible(self) -> int:
        """Tokens of the present block that are worked on: those of the context, up to a whole stretch."""
        left = min(self.context - (self.block << self.header.block_bits), 1 << self.header.block_bits)
        return ceil_divide(left, self.config.stretch) * self.config.stretch

    def _run(self, number: int, one: Instruction) -> int:
        """Carry one instruction out; the number of the next."""
        if one.operation == "STOP":
            self.position += 1
            self.begun = True
            return number + 1
        if one.operation == "END":
            self.block += 1
            if self.block << self.header.block_bits < self.context:
                return one["address"]
            self.block = 0
            return number + 1
        KERNELS[one.operation](self, one)
        return number + 1

    # --- operands ---------------------------------------------------------------------------------------------------

    def address(self, one: Instruction) -> int:
        """The memory word that an instruction begins at."""
        return one.begin(self.config.lanes, self.token, self.position, self.block)

    def words(self, one: Instruction) -> int:
        """Scratch words of a row."""
        return self.visible // self.config.lanes if one["by_block"] else one["words"]

    def row(self, begin: int, words: int) -> np.ndarray:
        """A vector in scratch memory, int64, a view."""
        if begin + words > len(self.scratch):
            raise InputError(f"scratch words must be below {len(self.scratch)}, not {begin + words - 1}")
        return self.scratch[begin : begin + words].reshape(-1)

    def rows(self, begin: int, words: int, rows: int, pitch: int) -> np.ndarray:
        """Vectors in scratch memory, int64 ``(rows, numbers)``, a copy."""
        return np.stack([self.row(begin + pitch * row, words) for row in range(rows)])

    def keep(self, begin: int, pitch: int, values: np.ndarray) -> None:
        """Write vectors ``(rows, numbers)`` to scratch memory."""
        for row, one in enumerate(values):
            self.row(begin + pitch * row, len(one) // self.config.lanes)[:] = one

    def stored(self, begin: int, numbers: int) -> StoredScales:
        """Stored scales that lie in scratch memory."""
        return StoredScales.from_words(self.row(begin, self.config.words(numbers))[:numbers], 0)

    def sums(self, one: Instruction) -> np.ndarray:
        """The array's part of an instruction: int64 ``(rows, n)``."""
        array, m = self.config.array, one["rows"]
        visible = self.visible if one["by_block"] else 0
        n, k = (visible, one["k"]) if visible and not one["by_lanes"] else (one["n"], visible or one["k"])
        folds = ceil_divide(k, array.rows)
        base = one["activation"]
        x = self.activations[base : base + folds * m].reshape(folds, m, -1).swapaxes(0, 1).reshape(m, -1)
        return products(x, self._weights(self.address(one), n, folds, one))[:, :n]

    def _weights(self, begin: int, n: int, folds: int, one: Instruction) -> np.ndarray:
        """Integers float32 ``(n, folds * rows)`` of a GEMM's tiles."""
        array, planes, tile = self.config.array, one["planes"], self.config.tile_words
        packing = self.config.weight_packing if one["packed"] else array.packing
        column_tiles = ceil_divide(n, array.cols)
        key = (begin, n, folds, planes, one["packed"], one["burst"])
        if key in self._fixed:
            return self._fixed[key]
        tiles = column_tiles * planes * folds
        if one["by_lanes"]:
            bursts = [begin + one["jump"] * number for number in range(column_tiles * planes)]
            words = np.concatenate([self.memory[first : first + folds * tile] for first in bursts])
            order = (column_tiles, planes, folds, array.rows, array.cols), (1, 0, 4, 2, 3)
        else:
            words = self.memory[begin : begin + (tiles * tile if one["by_block"] else one["burst"])]
            order = (column_tiles, planes, folds, array.cols, array.rows), (1, 0, 3, 2, 4)
            if not one["by_block"] and len(words) != (burst := self.config.burst_words(tiles)):
                raise InputError(f"burst of {one.operation} must be {burst} memory words, not {len(words)}")
        trits = unpack(words.reshape(-1), words.size * TRITS_PER_BYTE[packing], packing)[: tiles * array.lanes]
        trits = trits.reshape(order[0]).transpose(order[1]).reshape(planes, column_tiles * array.cols, -1)
        weights = np.tensordot(3 ** np.arange(planes), trits, 1).astype(np.float32)
        if begin < self._first_kept:
            self._fixed[key] = weights
        return weights

    def beat(self, one: Instruction, number: int) -> np.ndarray:
        """Trits of a beat of weight tiles that lie in memory as those of a GEMM do."""
        if not one["packed"]:
            words, packing = self.memory[one["address"] + number], self.config.array.packing
            return unpack(words, words.size * TRITS_PER_BYTE[packing], packing)
        packing, fives = self.config.weight_packing, TRITS_PER_BYTE[self.config.weight_packing]
        group, part = divmod(number, fives)  # five beats lie in four words
        begin = one["address"] + group * (fives - 1)
        words = self.memory[begin : begin + fives - 1].reshape(-1)
        words = np.where(words > 242, 121, words).astype(np.uint8)  # behind the table: other data
        return unpack(words, words.size * fives, packing).reshape(fives, -1)[part]

    def quantizer(self, one: Instruction, scale: Scale) -> Scale:
        """The scale of a quantized row times the instruction's constant, where it has one."""
        if not one["factor_mantissa"]:
            return scale
        return multiply(scale, Scale(np.int64(one["factor_mantissa"]), np.int64(one["factor_exponent"])))

    def enter(self, base: int, q: np.ndarray) -> None:
        """int8 rows ``(m, numbers)`` into the activation buffer, fold by fold."""
        rows, m = self.config.array.rows, len(q)
        folds = ceil_divide(q.shape[1], rows)
        for row, values in enumerate(q):
            for fold in range(folds):
                piece = values[fold * rows : (fold + 1) * rows]
                self.activations[base + fold * m + row, : len(piece)] = piece
