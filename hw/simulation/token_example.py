"""The program of the whole-token machine's timing picture: a token's row, a norm, a linear, its K to memory."""

import numpy as np

from hw.config import load_array
from hw.program.image import Header, Image, config_tag
from hw.program.instructions import ELEMENTS, INDICES, WIDTHS, Instruction, encode
from hw.program.layout import quantizer
from hw.program.machine import INSTRUCTION_BITS, MachineConfig, machine_around
from hw.program.memory import Memory, int_words, packed_words
from hw.token.decoder import FRACTION
from hw.token.digits import digit_limit, to_digits
from hw.token.formats import OPERAND_BITS
from hw.token.linear import linear_part
from hw.token.norm import norm_constants

__all__ = ["TOKEN", "example"]

TOKEN = 3
_HIDDEN, _TOKENS, _DIGITS = 8, 8, 2  # numbers of a vector; of context and vocabulary; of weights and of K
_GAINS, _SCALES, _X, _Y = 0, 4, 8, 12  # scratch words


def example() -> Image:
    """On 8 x 8 lanes and 2 vector lanes; constants are loaded in front of the entry, by the first token alone."""
    machine = machine_around(load_array("8x8"), 2, scratch_words=64, activation_words=16)
    code = _program(machine, Memory(machine))
    first = (1 + len(code)) * machine.instruction_words
    memory = Memory(machine, first)
    _program(machine, memory)
    memory = Memory(machine, first, memory.filled)
    code = _program(machine, memory)
    header = Header(
        config=config_tag(machine), instructions=len(code), memory_words=memory.words, block_bits=3, context=_TOKENS,
        vocabulary=_TOKENS, entry=2,
    )  # fmt: skip
    size = INSTRUCTION_BITS // 8
    data = header.encoded() + b"".join(encode(one).to_bytes(size, "little") for one in code)
    return Image(machine, memory.data(data), memory.regions)


def _program(machine: MachineConfig, memory: Memory) -> list[Instruction]:
    rng, words = np.random.default_rng(0), machine.words(_HIDDEN)
    limit = digit_limit(_DIGITS)
    norm = norm_constants(rng.uniform(0.5, 2, _HIDDEN), 1e-5, FRACTION)
    weights = rng.integers(-limit, limit + 1, (_HIDDEN, _HIDDEN))
    part = linear_part(weights, rng.uniform(0.5, 2, _HIDDEN) / (limit * _HIDDEN**0.5), _DIGITS, 0, FRACTION, "linear")
    table = int_words(rng.integers(-100, 101, (_TOKENS, _HIDDEN)), "int8", machine)
    tiles = packed_words(to_digits(weights, _DIGITS), machine)
    kept = _DIGITS * machine.tile_words  # K of a column tile of tokens
    gains, scales = int_words(norm.gain[None], "int16", machine), part.constants.rows.words()[None]

    def load(name: str, element: str, data: np.ndarray, destination: int, **more: int) -> Instruction:
        fields = {"destination": destination, "words": words, "element": ELEMENTS.index(element)}
        return Instruction("LOAD", {"address": memory.put(name, data), **fields, **more})

    by_token = {"index": INDICES.index("token"), "stride": table.shape[1]}
    return [
        load("gains", "int16", gains, _GAINS),
        load("scales", "uint16", int_words(scales, "uint16", machine), _SCALES),
        load("table", "int8", table, _X, **by_token),
        Instruction("NORM", {
            "source": _X, "second": _GAINS, "destination": _Y, "words": words, "epsilon": norm.epsilon,
            **quantizer(limit=127, factor=norm.factor),
        }),
        Instruction("DEQ", {
            "address": memory.put("weights", tiles), "burst": len(tiles), "planes": _DIGITS, "n": _HIDDEN,
            "k": _HIDDEN, "rows": 1, "second": _SCALES, "destination": _Y, "first": part.constants.first,
            "shift": part.constants.second, "width": WIDTHS.index(OPERAND_BITS),
        }),
        Instruction("KV", {
            "address": memory.leave("K", kept), "stride": kept, "jump": kept,
            "scales": memory.leave("scales of K", _TOKENS * 2 // machine.word_bytes),
            "pitch": _TOKENS * 2 // machine.word_bytes, "source": _Y, "words": words, "rows": 1, "planes": _DIGITS,
            **quantizer(limit),
        }),
        Instruction("STOP", {}),
    ]  # fmt: skip
