"""Bins of the whole-token machine's functional coverage: what an instruction is, and what it meets."""

from collections.abc import Callable
from itertools import product
from typing import NamedTuple

from hw.division import ceil_divide
from hw.program.image import Header
from hw.program.instructions import ELEMENTS, INDICES, OPERATIONS, WIDTHS, Instruction
from hw.program.machine import MachineConfig
from hw.trit import TRITS_PER_BYTE

__all__ = ["BINS", "PACKED_BINS", "SDRAM_BINS", "Event", "bins_of"]


class Event(NamedTuple):
    """An instruction that ran, or that was passed over because the next token was not wanted."""

    one: Instruction
    skipped: bool
    machine: MachineConfig
    header: Header
    position: int
    block: int
    visible: int  # tokens of the block that are worked on
    stalled: bool
    latency: int
    token: int = 0
    even: bool = False  # memory gives a word on every n-th edge
    sdram: bool = False


Judge = Callable[[Event], bool]


def _runs(*names: str) -> Judge:
    return lambda e: e.one.operation in names and not e.skipped


def _both(*judges: Judge) -> Judge:
    return lambda e: all(judge(e) for judge in judges)


def _field(name: str, value: int) -> Judge:
    return lambda e: e.one[name] == value


def _sizes(size: Callable[[Event], int], step: str) -> dict[str, Judge]:
    """Bins of a size about the array's: less, equal, a multiple, a multiple and a rest."""

    def of(e: Event) -> int:
        return getattr(e.machine.array, step)

    return {
        f"part of the {step}": lambda e: size(e) < of(e),
        f"all {step}": lambda e: size(e) == of(e),
        f"several times the {step}": lambda e: size(e) > of(e) and size(e) % of(e) == 0,
        f"several times and a rest of the {step}": lambda e: size(e) > of(e) and size(e) % of(e) != 0,
    }


def _named(prefix: str, judge: Judge, bins: dict[str, Judge]) -> dict[str, Judge]:
    return {f"{prefix}, {name}": _both(judge, one) for name, one in bins.items()}


def _outputs(e: Event) -> int:
    return e.one["n"]


def _inputs(e: Event) -> int:
    return e.one["k"]


def _whole(e: Event) -> bool:
    return e.visible == 1 << e.header.block_bits


def _first(e: Event) -> bool:
    return e.block == 0


def _inner(e: Event) -> int:
    """The token's place among those of its weight tile."""
    array = e.machine.array
    return e.position % (array.rows if e.one["by_lanes"] else array.cols)


def _places(e: Event) -> int:
    """Tokens of a weight tile of K or V that share a memory word."""
    array = e.machine.array
    return array.weight_bus_bits // (2 * (array.cols if e.one["by_lanes"] else array.rows))


def _tokens(e: Event) -> int:
    return e.machine.array.rows if e.one["by_lanes"] else e.machine.array.cols


def _numbers(e: Event) -> int:
    return e.one["words"] * e.machine.lanes


def _quantized(e: Event) -> int:
    """Scratch words of a row of QUANT."""
    return e.visible // e.machine.lanes if e.one["by_block"] else e.one["words"]


def _several_rows(*names: str) -> Judge:
    return _both(_runs(*names), lambda e: e.one["rows"] > 1)


def _picked(e: Event) -> int:
    """The token's place in the memory word that its number is picked out of."""
    return e.token % (2 * e.machine.lanes)


def _beat_of_row(number: int) -> Judge:
    """ROW out of packed tiles, whose first beat is that one of the five that four memory words hold."""

    def judge(e: Event) -> bool:
        array = e.machine.array
        tile, column = divmod(e.token, array.cols)
        beat = tile * e.one["beats"] + e.one["skip"] + column * e.machine.tile_words // array.cols
        return beat % TRITS_PER_BYTE["5in8"] == number

    return _both(_runs("ROW"), _field("packed", 1), judge)


def _beats_behind(fives: int) -> Judge:
    """So many beats of weights behind whole fives, the fifth of which needs no memory word of packed trits."""

    def judge(e: Event) -> bool:
        array = e.machine.array
        tiles = e.one["planes"] * ceil_divide(e.one["n"], array.cols) * ceil_divide(e.one["k"], array.rows)
        return tiles * e.machine.tile_words % TRITS_PER_BYTE["5in8"] == fives

    return judge


_STALLS: dict[str, Judge] = {
    "a word every edge": lambda e: not e.stalled,
    "stalls": lambda e: e.stalled and not e.even,
    "a word every 2 to 6 edges": lambda e: e.even,
}
_DIVISION = 15  # edges of a row's division, and a scan ends 5 behind its words
_BLOCKS: dict[str, Judge] = {
    "first block, short": _both(_first, lambda e: not _whole(e)),
    "first block, whole": _both(_first, _whole),
    "later block, short": lambda e: not _first(e) and not _whole(e),
    "later block, whole": lambda e: not _first(e) and _whole(e),
}

BINS: dict[str, dict[str, Judge]] = {
    "operation x memory": {
        f"{name}, {memory}": _both(_runs(name), judge)
        for name, (memory, judge) in product(OPERATIONS, _STALLS.items())
    },
    "not wanted x memory": {
        f"{name}, {memory}": _both(lambda e, n=name: e.skipped and e.one.operation == n, judge)
        for name, (memory, judge) in product(("NORM", "ARGMAX"), _STALLS.items())
    } | {"LOAD": lambda e: e.skipped and e.one.operation == "LOAD"},
    "memory": {
        "latency of an edge": lambda e: e.latency == 1,
        "latency above ten edges": lambda e: e.latency > 10,
        "constants kept in scratch memory": lambda e: e.header.entry > 0,
        "constants loaded for every token": lambda e: e.header.entry == 0,
    },
    "outputs of a GEMM": {
        **_named("DEQ", _runs("DEQ"), _sizes(_outputs, "cols")),
        **_named("ARGMAX", _runs("ARGMAX"), _sizes(_outputs, "cols")),
        "OACC, all cols": _both(_runs("OACC"), lambda e: _outputs(e) == e.machine.array.cols),
        "OACC, several times the cols": _both(_runs("OACC"), lambda e: _outputs(e) > e.machine.array.cols),
    },
    "inputs of a GEMM": {
        **_named("DEQ", _runs("DEQ"), _sizes(_inputs, "rows")),
        **{name: judge for name, judge in _named("SCORE", _runs("SCORE"), _sizes(_inputs, "rows")).items()
           if "several times the" not in name},
        **_named("ARGMAX", _runs("ARGMAX"), _sizes(_inputs, "rows")),
    },
    "digits of a GEMM": {
        f"{name}, {digits}": _both(_runs(name), _field("planes", digits))
        for name, all_digits in {"DEQ": (1, 2, 3), "SCORE": (2, 3, 4, 5), "OACC": (2, 3, 4, 5)}.items()
        for digits in all_digits
    },
    "rows of a GEMM x blocks": {
        f"{name}, {rows}, {block}": _both(_runs(name), _field("rows", rows), judge)
        for name, rows, (block, judge) in product(("SCORE", "OACC"), (1, 2, 3), _BLOCKS.items())
    },
    "what becomes of sums": {
        f"DEQ, {bits} bits, {'added' if add else 'alone'}": _both(
            _runs("DEQ"), _field("width", WIDTHS.index(bits)), _field("add", add)
        )
        for bits, add in ((17, 0), (24, 0), (32, 1))
    } | {
        "ARGMAX, first rows of the table": _both(_runs("ARGMAX"), _field("add", 0)),
        "ARGMAX, further rows": _both(_runs("ARGMAX"), _field("add", 1)),
    },
    "softmax x blocks": _named("EXP", _runs("EXP"), _BLOCKS) | {
        "END, to the next block": _both(_runs("END"), lambda e: e.block + 1 << e.header.block_bits <= e.position),
        "END, behind the last": _both(_runs("END"), lambda e: e.block + 1 << e.header.block_bits > e.position),
        "END, whose next block begins with the next token": _both(
            _runs("END"), lambda e: e.block + 1 << e.header.block_bits == e.position + 1
        ),
        "END, whose next block has one token": _both(
            _runs("END"), lambda e: e.block + 1 << e.header.block_bits == e.position
        ),
    },
    "K and V": {
        f"{'V' if values else 'K'}, {name}": _both(_runs("KV"), _field("by_lanes", values), judge)
        for values in (0, 1)
        for name, judge in {
            **{f"{digits} digits": _field("planes", digits) for digits in (2, 3, 4, 5)},
            "first token of a tile": lambda e: _inner(e) == 0,
            "last token of a tile": lambda e: _inner(e) == _tokens(e) - 1,
            "first memory word of a tile": lambda e: _inner(e) < _places(e),
            "further memory word": lambda e: _inner(e) >= _places(e),
            "heads of one tile": lambda e: _numbers(e) <= e.machine.array.lanes // _tokens(e),
            "heads of several tiles": lambda e: _numbers(e) > e.machine.array.lanes // _tokens(e),
            "one head": _field("rows", 1),
            "several heads": lambda e: e.one["rows"] > 1,
            "stalled writes": lambda e: e.stalled,
        }.items()
    },
    "LOAD": {
        **{name: _both(_runs("LOAD"), _field("element", code)) for code, name in enumerate(ELEMENTS)},
        **{f"by {name}": _both(_runs("LOAD"), _field("index", code)) for code, name in enumerate(INDICES)},
        "a part of the last memory word": _both(
            _runs("LOAD"), lambda e: e.one["words"] % {"int8": 4, "int32": 1}.get(ELEMENTS[e.one["element"]], 2) != 0
        ),
        "as many as the block has": _both(_runs("LOAD"), _field("by_block", 1)),
        "the token's number alone, first of a word": _both(_runs("LOAD"), _field("pick", 1), lambda e: _picked(e) == 0),
        "the token's number alone, last of a word": _both(
            _runs("LOAD"), _field("pick", 1), lambda e: _picked(e) == 2 * e.machine.lanes - 1
        ),
    },
    "ROW": {
        "first digit plane": _both(_runs("ROW"), _field("skip", 0)),
        "a later digit plane": _both(_runs("ROW"), lambda e: e.one["skip"] > 0),
        **{name: judge for name, judge in _named("numbers", _runs("ROW"), _sizes(_numbers, "rows")).items()
           if "part of" not in name},
    },
    "quantization": {
        "QUANT, a row": _both(_runs("QUANT"), _field("rows", 1)),
        "QUANT, several rows": _both(_runs("QUANT"), lambda e: e.one["rows"] > 1),
        **_named("QUANT of weights", _both(_runs("QUANT"), _field("weights", 1)), _BLOCKS),
        "NORM, one int8 row": _both(_runs("NORM"), _field("split", 0)),
        "NORM, two int8 rows": _both(_runs("NORM"), _field("split", 1)),
    },
    "early rows": {
        "QUANT, next row scanned within a division": _both(
            _several_rows("QUANT"), lambda e: _quantized(e) + 5 <= _DIVISION
        ),
        "QUANT, next row's scan waited for": _both(_several_rows("QUANT"), lambda e: _quantized(e) + 5 > _DIVISION),
        "EXP, next row scanned while powers drain": _several_rows("EXP"),
        "ONORM, next reciprocal while outputs drain": _several_rows("ONORM"),
    },
    "rotations": {
        "ROPE, a head": _both(_runs("ROPE"), _field("rows", 1)),
        "ROPE, several heads": _both(_runs("ROPE"), lambda e: e.one["rows"] > 1),
        "WHT, two words": _both(_runs("WHT"), _field("words", 2)),
        "WHT, four words": _both(_runs("WHT"), _field("words", 4)),
    },
}  # fmt: skip


PACKED_BINS: dict[str, dict[str, Judge]] = {
    "GEMM of packed weights x memory": {
        f"{name}, {what}, {memory}": _both(_runs(name), _field("packed", 1), _beats_behind(fives), judge)
        for name, (fives, what), (memory, judge) in product(
            ("DEQ", "ARGMAX"), enumerate(("whole fives of beats", *(f"fives and {n} more" for n in range(1, 5)))),
            (("a word every edge", lambda e: not e.stalled), ("stalls", lambda e: e.stalled)),
        )
    },
    "ROW of packed weights": {f"beat {n} of five": _beat_of_row(n) for n in range(TRITS_PER_BYTE["5in8"])},
}  # fmt: skip


SDRAM_BINS: dict[str, dict[str, Judge]] = {
    "operation behind an SDRAM": {name: _runs(name) for name in OPERATIONS}
    | {
        f"{name}, not wanted": lambda e, n=name: e.skipped and e.one.operation == n
        for name in ("LOAD", "NORM", "ARGMAX")
    }
    | {
        "KV, a later block": _both(_runs("KV"), lambda e: e.position >> e.header.block_bits > 0),
        "OACC, a later block": _both(_runs("OACC"), lambda e: e.block > 0),
    },
}


def bins_of(machine: MachineConfig, sdram: bool = False) -> dict[str, dict[str, Judge]]:
    """Bins that programs of ``machine`` are to reach."""
    if sdram:
        return SDRAM_BINS
    return BINS | PACKED_BINS if machine.unpacks else BINS
