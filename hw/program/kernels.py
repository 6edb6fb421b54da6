"""What every operation computes: the kernels of ``hw.token`` on operands that lie in a machine's memories."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from hw.division import ceil_divide
from hw.program.instructions import ELEMENTS, WIDTHS, Instruction
from hw.program.memory import ELEMENT_TYPES
from hw.token.decoder import FRACTION
from hw.token.dequantize import Dequantizer, dequantized
from hw.token.digits import to_digits
from hw.token.formats import OPERAND_BITS, WORD_BITS, bit_length, rescaled, rounded, saturated, shifted
from hw.token.hadamard import transformed
from hw.token.norm import EXTRA_BITS, SQUARE_BITS, Norm, normalized
from hw.token.quantize import quantized
from hw.token.rope import rotated
from hw.token.scales import KV_BIAS, Scale, store
from hw.token.silu import gated
from hw.token.softmax import FIRST_MAXIMUM, accumulated, exponentials, normalized_output, scores
from hw.trit import pack

if TYPE_CHECKING:
    from hw.program.interpreter import Interpreter

__all__ = ["KERNELS"]

_LIFT = 16  # of a table's integers, see ``hw.token.table``


def _set(scales: Scale, rows: slice, value: Scale) -> None:
    scales.mantissa[rows], scales.exponent[rows] = value.mantissa, value.exponent


def _load(machine: "Interpreter", one: Instruction) -> None:
    if one["pick"]:
        picked = machine.memory[machine.address(one)].view("<u2")[machine.token % (2 * machine.config.lanes)]
        machine.row(one["destination"], 1)[:] = [picked, *[0] * (machine.config.lanes - 1)]
        return
    kind = np.dtype(ELEMENT_TYPES[ELEMENTS[one["element"]]])
    words, begin = machine.words(one), machine.address(one)
    per_word = machine.config.word_bytes // kind.itemsize // machine.config.lanes
    data = machine.memory[begin : begin + ceil_divide(words, per_word)].reshape(-1).view(kind)
    machine.row(one["destination"], words)[:] = data[: words * machine.config.lanes]


def _row(machine: "Interpreter", one: Instruction) -> None:
    config, array = machine.config, machine.config.array
    column_tile, column = divmod(machine.token, array.cols)
    beat, place = divmod(column * array.rows, array.cols * array.rows // config.tile_words)
    beat += column_tile * one["beats"] + one["skip"]
    numbers = one["words"] * config.lanes
    columns = []
    for fold in range(ceil_divide(numbers, array.rows)):
        columns.append(machine.beat(one, beat + fold * config.tile_words)[place : place + array.rows])
    machine.row(one["destination"], one["words"])[:] = np.concatenate(columns)[:numbers]


def _emb(machine: "Interpreter", one: Instruction) -> None:
    words = one["words"]
    scale = machine.stored(one["row_scale"], 1)
    lifted = machine.row(one["source"], words) << _LIFT
    t = rescaled(lifted * scale.mantissa, one["first"] - scale.exponent, OPERAND_BITS, machine.flags)
    result = rescaled(t * machine.row(one["second"], words), one["shift"], WORD_BITS, machine.flags)
    machine.row(one["destination"], words)[:] = result


def _norm(machine: "Interpreter", one: Instruction) -> None:
    words = one["words"]
    factor = Scale(np.int64(one["factor_mantissa"]), np.int64(one["factor_exponent"]))
    norm = Norm(machine.row(one["second"], words), one["epsilon"], factor)
    x = machine.row(one["source"], words)
    h = bit_length(np.abs(x).max()) - SQUARE_BITS
    machine.row(one["destination"], words)[:] = rounded(shifted(x, h - EXTRA_BITS) * norm.gain, 15)  # then quantized
    q, scale = normalized(x[None], norm, one["limit"])
    if one["split"]:
        high = (q + 63 + (q >> 7 & 1)) >> 7
        q = np.concatenate([high, q - (high << 7)])
    machine.enter(one["activation"], q)
    _set(machine.token_scales, slice(0, 1), scale)


def _quant(machine: "Interpreter", one: Instruction) -> None:
    rows = one["rows"]
    q, scale = quantized(machine.rows(one["source"], machine.words(one), rows, one["pitch"]), one["limit"])
    machine.enter(one["activation"], q)
    bank = machine.weight_scales if one["weights"] else machine.token_scales
    _set(bank, slice(0, rows), machine.quantizer(one, scale))


def _kv(machine: "Interpreter", one: Instruction) -> None:
    array, words, planes = machine.config.array, one["words"], one["planes"]
    heads = machine.rows(one["source"], words, one["rows"], words)
    q, scale = quantized(heads, one["limit"])
    stored = store(scale, KV_BIAS, machine.flags).words()
    size = array.cols if one["by_lanes"] else array.rows  # trits of a lane of V or of a column of K
    pieces = ceil_divide(q.shape[1], size)
    padded = np.zeros((len(q), pieces * size), np.int64)
    padded[:, : q.shape[1]] = q
    trits = pack(to_digits(padded, planes).reshape(planes, len(q), pieces, size), array.packing)
    length = trits.shape[-1]
    memory, bytes_of = machine.memory.reshape(-1), machine.config.word_bytes
    tile, (outer, inner) = (
        machine.config.tile_words,
        divmod(machine.position, array.rows if one["by_lanes"] else array.cols),
    )
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
        at = (one["scales"] + head * one["pitch"]) * bytes_of + 2 * machine.position
        memory[at : at + 2] = stored[head : head + 1].view(np.uint8)


def _rope(machine: "Interpreter", one: Instruction) -> None:
    words, rows = one["words"], one["rows"]
    table = machine.row(one["second"], words).reshape(-1, 2).T[None]
    heads = machine.rows(one["source"], words, rows, words)
    machine.keep(one["destination"], words, rotated(heads[None], table)[0])


def _wht(machine: "Interpreter", one: Instruction) -> None:
    words = one["words"]
    machine.keep(one["source"], words, transformed(machine.rows(one["source"], words, one["rows"], words)))


def _exp(machine: "Interpreter", one: Instruction) -> None:
    words, rows, pitch = machine.words(one), one["rows"], one["pitch"]
    if machine.block == 0:
        machine.maximum[:rows], machine.total[:rows] = FIRST_MAXIMUM, 0
    z = machine.rows(one["source"], words, rows, pitch)
    powers, machine.maximum[:rows], machine.total[:rows], machine.shift[:rows] = exponentials(
        z, machine.maximum[:rows], machine.total[:rows]
    )
    values = machine.stored(one["second"], words * machine.config.lanes)
    shift = np.clip(one["first"] - values.exponent, 0, 63)
    machine.keep(one["destination"], pitch, saturated(powers * values.mantissa >> shift, OPERAND_BITS, machine.flags))


def _onorm(machine: "Interpreter", one: Instruction) -> None:
    words, rows = one["words"], one["rows"]
    output = machine.rows(one["source"], words, rows, one["pitch"])
    result = normalized_output(output, machine.total[:rows], one["shift"], one["first"], machine.flags)
    machine.keep(one["destination"], words, result)


def _glu(machine: "Interpreter", one: Instruction) -> None:
    words = one["words"]
    gate, up = machine.row(one["source"], words), machine.row(one["second"], words)
    machine.row(one["destination"], words)[:] = gated(gate, up, FRACTION, one["shift"], machine.flags)


def _add(machine: "Interpreter", one: Instruction) -> None:
    words = one["words"]
    total = machine.row(one["source"], words) + machine.row(one["second"], words)
    machine.row(one["destination"], words)[:] = saturated(total, WORD_BITS, machine.flags)


def _deq(machine: "Interpreter", one: Instruction) -> None:
    bits, n = WIDTHS[one["width"]], one["n"]
    constants = Dequantizer(machine.stored(one["second"], n), one["first"], one["shift"])
    token = Scale(machine.token_scales.mantissa[:1], machine.token_scales.exponent[:1])
    y = dequantized(machine.sums(one), constants, token, bits, machine.flags)[0]
    lanes = machine.config.lanes
    there = machine.row(one["destination"], ceil_divide(n, lanes))
    padded = np.zeros(len(there), np.int64)
    padded[:n] = y
    there[:] = saturated(there + padded, bits, machine.flags) if one["add"] else padded


def _score(machine: "Interpreter", one: Instruction) -> None:
    rows, visible = one["rows"], machine.visible
    tokens = (machine.block << machine.header.block_bits) + np.arange(visible)
    queries = Scale(machine.token_scales.mantissa[:rows], machine.token_scales.exponent[:rows])
    seen = np.broadcast_to(tokens <= machine.position, (rows, visible))
    keys = machine.stored(one["second"], visible)
    z = scores(machine.sums(one), keys, queries, seen, one["first"], one["shift"], machine.flags)
    machine.keep(one["destination"], one["pitch"], z)


def _oacc(machine: "Interpreter", one: Instruction) -> None:
    rows, words = one["rows"], machine.config.words(one["n"])
    old = machine.rows(one["destination"], words, rows, one["pitch"])
    old = old if machine.block else np.zeros_like(old)
    scale = Scale(machine.weight_scales.mantissa[:rows], machine.weight_scales.exponent[:rows])
    new = accumulated(old, machine.shift[:rows], machine.sums(one), scale, one["first"], machine.flags)
    machine.keep(one["destination"], one["pitch"], new)


def _argmax(machine: "Interpreter", one: Instruction) -> None:
    high, low = machine.sums(one)
    scales = machine.stored(one["second"], one["n"])
    shift = np.where(scales.mantissa > 0, scales.exponent - one["first"], 0)
    logits = ((high << 7) + low) * scales.mantissa << shift
    best = int(logits.argmax())
    if not one["add"] or logits[best] > machine.best:
        machine.best, machine.best_id = int(logits[best]), one["identity"] + best


KERNELS: dict[str, Callable[["Interpreter", Instruction], None]] = {
    "LOAD": _load, "EMB": _emb, "NORM": _norm, "QUANT": _quant, "KV": _kv, "ROPE": _rope, "WHT": _wht, "EXP": _exp,
    "ONORM": _onorm, "GLU": _glu, "ADD": _add, "DEQ": _deq, "SCORE": _score, "OACC": _oacc, "ARGMAX": _argmax,
    "ROW": _row,
}  # fmt: skip
