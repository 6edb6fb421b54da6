"""Functional coverage of the whole-token machine: instructions x shapes x stalls that random programs have run.

``python -m tests.sim.token.coverage`` runs them on the Verilated machine, holds the cycles of every instruction against
the simulator's, and prints how many instructions fell into each declared bin; ``--cases 30`` is a shorter run, and
``--memory sdram:as4c16m16sa-7@62.5`` one behind an SDRAM. ``--add`` keeps the groups for docs/token_machine.md. An
empty bin, like a difference, ends in an error.
"""

import argparse
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import product
from typing import NamedTuple, get_args

from hw.config import load_array
from hw.division import ceil_divide
from hw.program.image import Header
from hw.program.instructions import ELEMENTS, INDICES, OPERATIONS, WIDTHS, Instruction
from hw.program.machine import MachineConfig, machine_around
from hw.simulation.verilated_machine import Sdram, VerilatedMachine, build_machine
from hw.trit import TRITS_PER_BYTE, Packing
from sim.token.coverage_results import COVERAGE_RESULTS, CoverageGroup, CoverageRun, add_coverage_run
from sim.token.cycles import InstructionCycles, TokenCycles
from sim.token.memory import TokenMemory
from sim.token.port import sdram_memory
from tests.sim.token.random_programs import RandomRun, random_runs

__all__ = ["BINS", "PACKED_BINS", "SDRAM_BINS", "Event", "Hits", "covered_machine", "empty_bins", "events", "play"]

Hits = Counter  # (group, bin) -> instructions


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


def covered_machine(**fields: str) -> MachineConfig:
    """Another number of rows than of columns, several words per tile, 4 lanes."""
    return machine_around(load_array("16x8"), 4, scratch_words=320, activation_words=128, **fields)


def events(
    run: RandomRun, steps: list[InstructionCycles], position: int, wanted: bool, token: int = 0, sdram: bool = False
) -> Iterator[Event]:
    """What a token's instructions were, from those that the cycle model stepped."""
    even = run.stalls[:1] == b"\1" and len(run.stalls) > 1 and not any(run.stalls[1:])
    header, machine, program = run.image.header, run.image.machine, run.image.program()
    size, block, stretch = 1 << header.block_bits, 0, machine.stretch
    for step in steps:
        one = program[step.number]
        visible = -(-min(position + 1 - block * size, size) // stretch) * stretch
        skipped = bool(one["last_only"] and not wanted)
        stalled = bool(run.stalls)
        yield Event(
            one, skipped, machine, header, position, block, visible, stalled, run.latency, token, even, sdram
        )  # fmt: skip
        if one.operation == "END":
            block = block + 1 if (block + 1) * size <= position else 0


def play(run: RandomRun, path: object, hits: Hits, sdram: Sdram | None = None) -> int:
    """Run on the Verilated machine at ``path``: cycles of every instruction equal; bins counted; the instructions."""
    if sdram:
        width = run.image.machine.array.weight_bus_bits
        cycles = TokenCycles(run.image, memory=sdram_memory(sdram.chip, sdram.chip_hz, width, sdram.ratio))
    else:
        cycles = TokenCycles(run.image, run.latency, run.stalls)
    count = 0
    with VerilatedMachine(run.image, path, run.latency, run.stalls, sdram) as core:
        if run.position:
            core.seek(run.position)
            cycles.seek(run.position)
        for number, wanted in enumerate(run.wanted):
            position, token = cycles.position, number % run.image.header.vocabulary
            step, steps = core.step(token, wanted), cycles.step(wanted, token)
            assert [(one.operation, one.cycles) for one in steps] == step.trace, (number, run.latency)
            count += len(steps)
            for event in events(run, steps, position, wanted, token, sdram is not None):
                cover(hits, event)
    return count


def cover(hits: Hits, event: Event) -> None:
    """Count the bins that an instruction falls into."""
    for group, bins in bins_of(event.machine, event.sdram).items():
        for name, judge in bins.items():
            hits[group, name] += bool(judge(event))


def empty_bins(hits: Hits, machine: MachineConfig, sdram: bool = False) -> list[tuple[str, str]]:
    """Group and name of each bin of ``machine`` that no instruction fell into."""
    return [(group, name) for group, bins in bins_of(machine, sdram).items() for name in bins if not hits[group, name]]


def main() -> None:
    """Play, check and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=300, help="random programs")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--weight-packing", choices=get_args(Packing), default="2bit", help="of weights in memory")
    parser.add_argument("--memory", metavar="sdram:CHIP@MHZ[xN]", help="an SDRAM with its controller, not a pattern")
    parser.add_argument("--add", action="store_true", help=f"keep the groups in {COVERAGE_RESULTS}")
    options = parser.parse_args()
    machine, hits, sdram = covered_machine(weight_packing=options.weight_packing), Hits(), _sdram(options.memory)
    path = build_machine(machine, sdram=sdram)
    count = sum(play(run, path, hits, sdram) for run in random_runs(machine, options.cases, options.seed))
    print(f"{options.cases} random programs, {count:,} instructions, the cycles of each equal")
    for group, bins in bins_of(machine, sdram is not None).items():
        print(f"\n{group}")
        for name in bins:
            print(f"  {hits[group, name]:7}  {name}")
    if empty := empty_bins(hits, machine, sdram is not None):
        raise SystemExit(f"empty bins: {empty}")
    if options.add:
        name = "SDRAM" if sdram else {"2bit": "2 bits a trit", "5in8": "five trits a byte"}[options.weight_packing]
        groups = [
            CoverageGroup(name=group, bins=len(bins), fewest=min(hits[group, one] for one in bins))
            for group, bins in bins_of(machine, sdram is not None).items()
        ]
        run = CoverageRun(name=name, programs=options.cases, instructions=count, groups=tuple(groups))
        add_coverage_run(COVERAGE_RESULTS, run)


def _sdram(text: str | None) -> Sdram | None:
    if text is None:
        return None
    memory = TokenMemory.of(argparse.Namespace(latency=None, word_edges=None, mhz=None, memory=text))
    return Sdram(memory.chip, memory.clock_hz, memory.ratio)


if __name__ == "__main__":
    main()
