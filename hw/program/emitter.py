"""What the compiler writes with: instructions in order, memory behind them, and pieces that recur in every layer."""

from collections.abc import Iterator

import numpy as np

from hw.errors import InputError
from hw.formats import INT8_LIMIT
from hw.program.instructions import ELEMENTS, WIDTHS, Instruction
from hw.program.layout import NOTHING, Kept, Piece, quantizer, rows_of
from hw.program.machine import MachineConfig
from hw.program.memory import Memory, int_words, packed_words
from hw.program.sizes import Scratch, Sizes
from hw.token.decoder import Parts
from hw.token.digits import digit_limit, to_digits
from hw.token.formats import WORD_BITS
from hw.token.model import TokenModel
from hw.token.norm import Norm
from hw.token.scales import Scale

__all__ = ["Emitter"]


class Emitter:
    """Emits instructions in order while it lays out the memory behind them.

    ``chunk``: outputs of one GEMM of a linear; ``scales``: of any GEMM, whose stored scales wait in scratch memory.

    Raises:
        InputError: sizes that the machine has no room for, with the numbers.
    """

    def __init__(self, model: TokenModel, machine: MachineConfig, chunk: int, scales: int):
        self.model, self.machine, self.chunk = model, machine, chunk
        self.sizes = sizes = Sizes.of(model)
        self.head_dim, self.heads, self.group, self.block = sizes.head_dim, sizes.heads, sizes.group, sizes.block
        self.hidden, self.intermediate, self.capacity = sizes.hidden, sizes.intermediate, sizes.capacity
        sizes.check(machine, model.form.rotate)
        self.program: list[Instruction] = []
        self.memory, self.layer = Memory(machine), 0
        self.at = Scratch.of(sizes, machine, scales)
        self.once: list[Instruction] = []  # constants that stay in scratch memory, where all of them have room
        self.resident, self.top, self.entry = True, self.at.end, 0

    def restart(self, first: int, entry: int) -> None:
        """Drop all instructions; data begin at memory word ``first``, the program behind ``entry`` that run once."""
        memory = Memory(self.machine, first, first + self.memory.filled)
        self.memory, self.program, self.once, self.top, self.entry = memory, [], [], self.at.end, entry

    def emit(self, operation: str, **values: int) -> None:
        """The next instruction, fields by name."""
        self.program.append(Instruction(operation, {name: int(value) for name, value in values.items()}))

    def load(self, destination: int, numbers: int, element: str, address: int, **more: int) -> None:
        """LOAD: numbers of a kind from a memory word to scratch memory."""
        code = ELEMENTS.index(element)
        words = 0 if more.get("by_block") else self.machine.words(numbers)
        self.emit("LOAD", destination=destination, words=words, element=code, address=address, **more)

    def constant(self, name: str, numbers: np.ndarray, element: str, where: int | None = None) -> int:
        """A vector of constants out of memory; the scratch word where it begins: its own, or that of all of them.

        ``where``: the memory word where it lies already.
        """
        words = len(self.program)
        if where is None:
            where = self.memory.put(name, int_words(numbers[None], element, self.machine))
        place = self.top if self.resident else self.at.scales
        self.load(place, len(numbers), element, where)
        if self.resident:
            self.top += self.machine.words(len(numbers))
            self.once += self.program[words:]
            del self.program[words:]
        return place

    def add(self, first: int, second: int, destination: int) -> None:
        """ADD: two vectors of the residual stream's width."""
        words = self.machine.words(self.hidden)
        self.emit("ADD", source=first, second=second, destination=destination, words=words)

    def norm(self, norm: Norm, name: str, limit: int = INT8_LIMIT, split: int = 0) -> None:
        """NORM of the residual stream, into the activation buffer."""
        at = self.at
        gains = self.constant(f"{self.where}{name}", norm.gain, "int16")
        self.emit(
            "NORM", source=at.x, second=gains, destination=at.sum, words=self.machine.words(self.hidden),
            epsilon=norm.epsilon, split=split, **quantizer(limit, norm.factor),
        )  # fmt: skip

    def quantize(self, source: int, numbers: int, factor: Scale = NOTHING, rows: int = 1, **more: int) -> None:
        """QUANT: rows of a vector as int8, into the activation buffer."""
        words = self.machine.words(numbers)
        pitch = more.pop("pitch", words)
        self.emit("QUANT", source=source, words=words, rows=rows, pitch=pitch, **quantizer(INT8_LIMIT, factor), **more)

    def linear(self, name: str, parts: Parts, destination: int, bits: int, more: int = 0, onto: bool = False) -> None:
        """GEMMs of a linear's parts, in pieces of outputs; ``more``: fraction bits of the activations' scale."""
        rows = self.machine.array.rows
        for number, part in enumerate(parts):
            if part.start % rows:
                raise InputError(
                    f"{self.where}{name}: groups of inputs must begin at multiples of the array's {rows} rows, "
                    f"not at {part.start}: use a method without groups, or groups of as many inputs"
                )
            for start, stop in self.chunks(len(part.weights)):
                label = f"{self.where}{name} part {number} rows {start} to {stop - 1}"
                weights, scales = self.weights(label, rows_of(part, start, stop))
                self.emit(
                    "DEQ", planes=part.digits, n=stop - start, k=part.stop - part.start, rows=1,
                    activation=part.start // rows, second=scales,
                    destination=destination + start // self.machine.lanes, first=part.constants.first,
                    shift=part.constants.second + more, width=WIDTHS.index(bits), add=int(onto or number > 0),
                    **weights,
                )  # fmt: skip

    def residual(self, name: str, parts: Parts, more: int) -> None:
        """A linear whose outputs are added to the residual stream; parts are added up before."""
        at = self.at
        if len(parts) == 1:
            self.linear(name, parts, at.x, WORD_BITS, more, onto=True)
        else:
            self.linear(name, parts, at.sum, WORD_BITS, more)
            self.add(at.x, at.sum, at.x)

    def weights(self, name: str, piece: Piece) -> tuple[dict[str, int], int]:
        """Fields of a GEMM's packed tiles, and the scratch word where its stored scales begin."""
        tiles = packed_words(to_digits(piece.weights.astype(np.int64), piece.digits), self.machine)
        fields = {"address": self.memory.put(name, tiles), "burst": len(tiles), "packed": int(self.machine.unpacks)}
        return fields, self.constant(f"{name}, scales", piece.scales.words(), "uint16")

    def keep(self, source: int, digits: int, name: str) -> Kept:
        """KV: the new token's K or V of all heads to memory."""
        machine, d, values = self.machine, self.head_dim, name == "V"
        kept = Kept.of(self.sizes, machine, digits, values)
        label = f"{self.where}{name}"
        data = self.memory.leave(label, kept.jump * self.model.kv_heads)
        scales = self.memory.leave(f"{label} scales", kept.scale_jump * self.model.kv_heads)
        self.emit(
            "KV", address=data, stride=kept.stride, jump=kept.jump, scales=scales, source=source,
            words=machine.words(d), rows=self.model.kv_heads, pitch=kept.scale_jump, planes=digits,
            by_lanes=int(values), **quantizer(digit_limit(digits)),
        )  # fmt: skip
        return kept._replace(data=data, scales=scales)

    @property
    def where(self) -> str:
        """In front of a region's name: the layer that it belongs to."""
        return f"layer {self.layer}, " if self.layer < len(self.model.layers) else ""

    def chunks(self, outputs: int, chunk: int | None = None) -> Iterator[tuple[int, int]]:
        """The first output of each GEMM and the one behind its last; ``chunk``: at most so many, else as usual."""
        size = chunk or self.chunk
        for start in range(0, outputs, size):
            yield start, min(start + size, outputs)
