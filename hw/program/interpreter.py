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
from hw.program.instructions import ELEMENTS, INDICES, OPERATIONS, WIDTHS, Instruction
from hw.program.memory import ELEMENT_TYPES
from hw.token.decoder import FRACTION
from hw.token.dequantize import Dequantizer, dequantized
from hw.token.digits import to_digits
from hw.token.formats import OPERAND_BITS, WORD_BITS, Flags, bit_length, products, rescaled, rounded, saturated, shifted
from hw.token.hadamard import transformed
from hw.token.norm import EXTRA_BITS, SQUARE_BITS, Norm, normalized
from hw.token.quantize import quantized
from hw.token.rope import rotated
from hw.token.scales import KV_BIAS, Scale, StoredScales, multiply, store
from hw.token.silu import gated
from hw.token.softmax import FIRST_MAXIMUM, accumulated, exponentials, normalized_output, scores
from hw.trit import pack, unpack

__all__ = ["Interpreter", "Status"]

_LIFT = 16  # of a table's integers, see ``hw.token.table``


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


class Interpreter:
    """A machine's visible state, and its token step.

    ``watch`` is called behind every instruction with its number and the instruction.
    """

    def __init__(self, image: Image, watch: Callable[[int, Instruction], None] | None = None):
        self.machine, self.header = image.machine, image.check()
        self.program = image.program()
        self.memory = np.zeros((self.header.memory_words, self.machine.word_bytes), np.uint8)
        self.memory.reshape(-1)[: len(image.memory)] = image.memory
        machine = self.machine
        self.scratch = np.zeros((machine.scratch_words, machine.lanes), np.int64)
        self.activations = np.zeros((machine.activation_words, machine.array.rows), np.int64)
        registers = machine.row_registers
        self.token_scales = Scale(*np.zeros((2, registers), np.int64))
        self.weight_scales = Scale(*np.zeros((2, registers), np.int64))
        self.maximum, self.total, self.shift = (np.zeros(registers, np.int64) for _ in range(3))
        self.position = self.block = self.token = self.best_id = 0
        self.best: int | None = None
        self.flags, self.watch = Flags(), watch
        self._fixed: dict[tuple[int, int, int, int], np.ndarray] = {}
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
        self.token, self.block, number = token, 0, 0
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
    def context(self) -> int:
        """Tokens that the present one sees, itself included."""
        return self.position + 1

    @property
    def visible(self) -> int:
        """Tokens of the present block that are worked on: those of the context, up to a whole stretch."""
        left = min(self.context - (self.block << self.header.block_bits), 1 << self.header.block_bits)
        return ceil_divide(left, self.machine.stretch) * self.machine.stretch

    def _run(self, number: int, one: Instruction) -> int:
        """Carry one instruction out; the number of the next."""
        if one.operation == "STOP":
            self.position += 1
            return number + 1
        if one.operation == "END":
            self.block += 1
            if self.block << self.header.block_bits < self.context:
                return one["address"]
            self.block = 0
            return number + 1
        _KERNELS[one.operation](self, one)
        return number + 1

    # --- operands ---------------------------------------------------------------------------------------------------

    def address(self, one: Instruction) -> int:
        """The memory word that an instruction begins at."""
        index = {"none": 0, "token": self.token, "position": self.position, "block": self.block}
        return one["address"] + one["stride"] * index[INDICES[one["index"]]]

    def words(self, one: Instruction) -> int:
        """Scratch words of a row."""
        return self.visible // self.machine.lanes if one["by_block"] else one["words"]

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
            self.row(begin + pitch * row, len(one) // self.machine.lanes)[:] = one

    def stored(self, begin: int, numbers: int) -> StoredScales:
        """Stored scales that lie in scratch memory."""
        return StoredScales.from_words(self.row(begin, self.machine.words(numbers))[:numbers], 0)

    def sums(self, one: Instruction) -> np.ndarray:
        """The array's part of an instruction: int64 ``(rows, n)``."""
        array, m = self.machine.array, one["rows"]
        visible = self.visible if one["by_block"] else 0
        n, k = (visible, one["k"]) if visible and not one["by_lanes"] else (one["n"], visible or one["k"])
        folds = ceil_divide(k, array.rows)
        base = one["activation"]
        x = self.activations[base : base + folds * m].reshape(folds, m, -1).swapaxes(0, 1).reshape(m, -1)
        return products(x, self._weights(self.address(one), n, folds, one))[:, :n]

    def _weights(self, begin: int, n: int, folds: int, one: Instruction) -> np.ndarray:
        """Integers float32 ``(n, folds * rows)`` of a GEMM's tiles."""
        array, planes, tile = self.machine.array, one["planes"], self.machine.tile_words
        column_tiles = ceil_divide(n, array.cols)
        key = (begin, n, folds, planes)
        if key in self._fixed:
            return self._fixed[key]
        if one["by_lanes"]:
            bursts = [begin + one["jump"] * number for number in range(column_tiles * planes)]
            words = np.concatenate([self.memory[first : first + folds * tile] for first in bursts])
            order = (column_tiles, planes, folds, array.rows, array.cols), (1, 0, 4, 2, 3)
        else:
            words = self.memory[begin : begin + column_tiles * planes * folds * tile]
            order = (column_tiles, planes, folds, array.cols, array.rows), (1, 0, 3, 2, 4)
        trits = unpack(words.reshape(-1, tile * self.machine.word_bytes), array.lanes, array.packing)
        trits = trits.reshape(order[0]).transpose(order[1]).reshape(planes, column_tiles * array.cols, -1)
        weights = np.tensordot(3 ** np.arange(planes), trits, 1).astype(np.float32)
        if begin < self._first_kept:
            self._fixed[key] = weights
        return weights

    def quantizer(self, one: Instruction, scale: Scale) -> Scale:
        """The scale of a quantized row times the instruction's constant, where it has one."""
        if not one["factor_mantissa"]:
            return scale
        return multiply(scale, Scale(np.int64(one["factor_mantissa"]), np.int64(one["factor_exponent"])))

    def enter(self, base: int, q: np.ndarray) -> None:
        """int8 rows ``(m, numbers)`` into the activation buffer, fold by fold."""
        rows, m = self.machine.array.rows, len(q)
        folds = ceil_divide(q.shape[1], rows)
        for row, values in enumerate(q):
            for fold in range(folds):
                piece = values[fold * rows : (fold + 1) * rows]
                self.activations[base + fold * m + row, : len(piece)] = piece


def _set(scales: Scale, rows: slice, value: Scale) -> None:
    scales.mantissa[rows], scales.exponent[rows] = value.mantissa, value.exponent


def _load(self: Interpreter, one: Instruction) -> None:
    kind = np.dtype(ELEMENT_TYPES[ELEMENTS[one["element"]]])
    words, begin = self.words(one), self.address(one)
    per_word = self.machine.word_bytes // kind.itemsize // self.machine.lanes
    data = self.memory[begin : begin + ceil_divide(words, per_word)].reshape(-1).view(kind)
    self.row(one["destination"], words)[:] = data[: words * self.machine.lanes]


def _emb(self: Interpreter, one: Instruction) -> None:
    words = one["words"]
    scale = self.stored(one["row_scale"], 1)
    lifted = self.row(one["source"], words) << _LIFT
    t = rescaled(lifted * scale.mantissa, one["first"] - scale.exponent, OPERAND_BITS, self.flags)
    result = rescaled(t * self.row(one["second"], words), one["shift"], WORD_BITS, self.flags)
    self.row(one["destination"], words)[:] = result


def _norm(self: Interpreter, one: Instruction) -> None:
    words = one["words"]
    factor = Scale(np.int64(one["factor_mantissa"]), np.int64(one["factor_exponent"]))
    norm = Norm(self.row(one["second"], words), one["epsilon"], factor)
    x = self.row(one["source"], words)
    h = bit_length(np.abs(x).max()) - SQUARE_BITS
    self.row(one["destination"], words)[:] = rounded(shifted(x, h - EXTRA_BITS) * norm.gain, 15)  # then quantized
    q, scale = normalized(x[None], norm, one["limit"])
    if one["split"]:
        high = (q + 63 + (q >> 7 & 1)) >> 7
        q = np.concatenate([high, q - (high << 7)])
    self.enter(one["activation"], q)
    _set(self.token_scales, slice(0, 1), scale)


def _quant(self: Interpreter, one: Instruction) -> None:
    rows = one["rows"]
    q, scale = quantized(self.rows(one["source"], self.words(one), rows, one["pitch"]), one["limit"])
    self.enter(one["activation"], q)
    bank = self.weight_scales if one["weights"] else self.token_scales
    _set(bank, slice(0, rows), self.quantizer(one, scale))


def _kv(self: Interpreter, one: Instruction) -> None:
    array, words, planes = self.machine.array, one["words"], one["planes"]
    heads = self.rows(one["source"], words, one["rows"], words)
    q, scale = quantized(heads, one["limit"])
    stored = store(scale, KV_BIAS, self.flags).words()
    size = array.cols if one["by_lanes"] else array.rows  # trits of a lane of V or of a column of K
    pieces = ceil_divide(q.shape[1], size)
    padded = np.zeros((len(q), pieces * size), np.int64)
    padded[:, : q.shape[1]] = q
    trits = pack(to_digits(padded, planes).reshape(planes, len(q), pieces, size), array.packing)
    length = trits.shape[-1]
    memory, bytes_of = self.memory.reshape(-1), self.machine.word_bytes
    tile, (outer, inner) = self.machine.tile_words, divmod(self.position, array.rows if one["by_lanes"] else array.cols)
    for head in range(len(q)):
        base = one["address"] + head * one["jump"]
        for plane in range(planes):
            for piece in range(pieces):
                if one["by_lanes"]:
                    word = base + (piece * planes + plane) * one["stride"] + outer * tile
                else:
                    word = base + outer * one["stride"] + (plane * pieces + piece) * tile
                at = word * bytes_of + inner * length
                memory[at : at + length] = trits[plane, head, piece]
        at = (one["scales"] + head * one["pitch"]) * bytes_of + 2 * self.position
        memory[at : at + 2] = stored[head : head + 1].view(np.uint8)


def _rope(self: Interpreter, one: Instruction) -> None:
    words, rows = one["words"], one["rows"]
    table = self.row(one["second"], words).reshape(-1, 2).T[None]
    heads = self.rows(one["source"], words, rows, words)
    self.keep(one["destination"], words, rotated(heads[None], table)[0])


def _wht(self: Interpreter, one: Instruction) -> None:
    words = one["words"]
    self.keep(one["source"], words, transformed(self.rows(one["source"], words, one["rows"], words)))


def _exp(self: Interpreter, one: Instruction) -> None:
    words, rows, pitch = self.words(one), one["rows"], one["pitch"]
    if self.block == 0:
        self.maximum[:rows], self.total[:rows] = FIRST_MAXIMUM, 0
    z = self.rows(one["source"], words, rows, pitch)
    powers, self.maximum[:rows], self.total[:rows], self.shift[:rows] = exponentials(
        z, self.maximum[:rows], self.total[:rows]
    )
    values = self.stored(one["second"], words * self.machine.lanes)
    shift = np.clip(one["first"] - values.exponent, 0, 63)
    self.keep(one["destination"], pitch, saturated(powers * values.mantissa >> shift, OPERAND_BITS, self.flags))


def _onorm(self: Interpreter, one: Instruction) -> None:
    words, rows = one["words"], one["rows"]
    output = self.rows(one["source"], words, rows, one["pitch"])
    result = normalized_output(output, self.total[:rows], one["shift"], one["first"], self.flags)
    self.keep(one["destination"], words, result)


def _glu(self: Interpreter, one: Instruction) -> None:
    words = one["words"]
    gate, up = self.row(one["source"], words), self.row(one["second"], words)
    self.row(one["destination"], words)[:] = gated(gate, up, FRACTION, one["shift"], self.flags)


def _add(self: Interpreter, one: Instruction) -> None:
    words = one["words"]
    total = self.row(one["source"], words) + self.row(one["second"], words)
    self.row(one["destination"], words)[:] = saturated(total, WORD_BITS, self.flags)


def _deq(self: Interpreter, one: Instruction) -> None:
    bits, n = WIDTHS[one["width"]], one["n"]
    constants = Dequantizer(self.stored(one["second"], n), one["first"], one["shift"])
    token = Scale(self.token_scales.mantissa[:1], self.token_scales.exponent[:1])
    y = dequantized(self.sums(one), constants, token, bits, self.flags)[0]
    lanes = self.machine.lanes
    there = self.row(one["destination"], ceil_divide(n, lanes))
    padded = np.zeros(len(there), np.int64)
    padded[:n] = y
    there[:] = saturated(there + padded, bits, self.flags) if one["add"] else padded


def _score(self: Interpreter, one: Instruction) -> None:
    rows, visible = one["rows"], self.visible
    tokens = (self.block << self.header.block_bits) + np.arange(visible)
    queries = Scale(self.token_scales.mantissa[:rows], self.token_scales.exponent[:rows])
    seen = np.broadcast_to(tokens <= self.position, (rows, visible))
    keys = self.stored(one["second"], visible)
    z = scores(self.sums(one), keys, queries, seen, one["first"], one["shift"], self.flags)
    self.keep(one["destination"], one["pitch"], z)


def _oacc(self: Interpreter, one: Instruction) -> None:
    rows, words = one["rows"], self.machine.words(one["n"])
    old = self.rows(one["destination"], words, rows, one["pitch"])
    old = old if self.block else np.zeros_like(old)
    scale = Scale(self.weight_scales.mantissa[:rows], self.weight_scales.exponent[:rows])
    new = accumulated(old, self.shift[:rows], self.sums(one), scale, one["first"], self.flags)
    self.keep(one["destination"], one["pitch"], new)


def _argmax(self: Interpreter, one: Instruction) -> None:
    high, low = self.sums(one)
    scales = self.stored(one["second"], one["n"])
    shift = np.where(scales.mantissa > 0, scales.exponent - one["first"], 0)
    logits = ((high << 7) + low) * scales.mantissa << shift
    best = int(logits.argmax())
    if not one["add"] or logits[best] > self.best:
        self.best, self.best_id = int(logits[best]), one["identity"] + best


_KERNELS: dict[str, Callable[[Interpreter, Instruction], None]] = {
    "LOAD": _load, "EMB": _emb, "NORM": _norm, "QUANT": _quant, "KV": _kv, "ROPE": _rope, "WHT": _wht, "EXP": _exp,
    "ONORM": _onorm, "GLU": _glu, "ADD": _add, "DEQ": _deq, "SCORE": _score, "OACC": _oacc, "ARGMAX": _argmax,
}  # fmt: skip

if missing := set(OPERATIONS) - set(_KERNELS) - {"STOP", "END"}:
    raise RuntimeError(f"operations without a kernel: {missing}")
