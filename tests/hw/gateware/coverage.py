"""Functional coverage: which tile shapes, stalls and formats the random GEMMs under Icarus have hit.

``python -m tests.hw.gateware.coverage`` runs them on every tree and grid of ``random_gemms.py`` and prints a line per
array, whose RTL counters equal every cycle model, then how many cases fell into each declared bin; ``--cases 90``
runs as many per array as the slow tests do.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

from hw.config import ArrayConfig
from hw.golden import gemm
from tests.hw.gateware.rtl import Case, Record

__all__ = ["BINS", "Hits", "cover", "empty_bins"]

Judge = Callable[[ArrayConfig, Case, Record], bool]
Hits = Counter  # (organisation, group, bin) -> cases


def _stalled(case: Case) -> tuple[bool, bool, bool]:
    return bool(case.weight_offers), bool(case.activation_offers), bool(case.result_readies)


def _tiles(config: ArrayConfig, case: Case) -> tuple[int, int, int]:
    """Token tiles, column tiles, folds."""
    sizes = ((case.m, config.token_tile), (case.n, config.cols), (case.k, config.rows))
    return tuple(-(-size // step) for size, step in sizes)


def _refusals(record: Record) -> int:
    """Edges on which the sink was not ready."""
    return record.patterns["results_ready"].count(0)


def _sizes(names: tuple[str, str, str, str, str], size: str, step: str, many: int) -> dict[str, Judge]:
    """Bins of ``size`` of the GEMM about ``step`` of the array: 1, less than it, it, 1 more, above ``many`` of it."""
    one, part, whole, more, several = names
    return {
        one: lambda a, c, r: getattr(c, size) == 1,
        part: lambda a, c, r: getattr(c, size) < getattr(a, step),
        whole: lambda a, c, r: getattr(c, size) == getattr(a, step),
        more: lambda a, c, r: getattr(c, size) == getattr(a, step) + 1,
        several: lambda a, c, r: getattr(c, size) > many * getattr(a, step),
    }


_TOKENS = ("1 token", "part of a token tile", "one whole token tile", "one token more", "three token tiles")
_OUTPUTS = ("1 output", "part of the columns", "all columns", "one column more", "three column tiles")
_INPUTS = ("1 input", "part of the lanes", "all lanes", "one lane more", "four folds")

_BOTH: dict[str, dict[str, Judge]] = {
    "m": _sizes(_TOKENS, "m", "token_tile", 2),
    "n": _sizes(_OUTPUTS, "n", "cols", 2),
    "k": _sizes(_INPUTS, "k", "rows", 3),
    "token x column x fold tiles": {
        ", ".join("several" if several else "1" for several in wanted): lambda a, c, r, w=wanted: (
            tuple(tiles > 1 for tiles in _tiles(a, c)) == w
        )
        for wanted in product((False, True), repeat=3)
    },
    "idle weights x idle activations x refused results": {
        ", ".join("yes" if on else "no" for on in wanted): lambda a, c, r, w=wanted: _stalled(c) == w
        for wanted in product((False, True), repeat=3)
    },
    "cycles by cause": {
        "weight stall": lambda a, c, r: r.counters["weight_stall"] > 0,
        "input stall": lambda a, c, r: r.counters["input_stall"] > 0,
        "output stall": lambda a, c, r: r.counters["output_stall"] > 0,
        "all of them": lambda a, c, r: all(r.counters[f"{x}_stall"] for x in ("weight", "input", "output")),
        "weight stall from the bus alone": lambda a, c, r: not any(_stalled(c)) and r.counters["weight_stall"] > 0,
        "no stall at all": lambda a, c, r: r.counters["cycles"] == r.counters["ideal"] + r.counters["fill_drain"],
        "refused for longer than the queue is deep": lambda a, c, r: (
            _refusals(r) > a.result_queue_depth and r.counters["output_stall"] > 0
        ),
    },
    "operands": {
        "extreme activations": lambda a, c, r: bool((abs(c.q) == 127).all()),
        "-1 trits alone": lambda a, c, r: bool((c.trits == -1).all()) and c.trits.size > 1,
        "a sum within 1 % of the largest": lambda a, c, r: bool((abs(gemm(c.q, c.trits)) > 0.99 * 127 * c.k).any()),
    },
    "array": {
        "two-bit codes": lambda a, c, r: a.packing == "2bit",
        "five trits in a byte": lambda a, c, r: a.packing == "5in8",
        "one beat per tile": lambda a, c, r: a.weight_beats == 1,
        "words that cut columns": lambda a, c, r: a.weight_beats > 1 and a.cols % a.weight_beats != 0,
    },
}

_TREE: dict[str, dict[str, Judge]] = {
    "columns": {
        "chains": lambda a, c, r: a.chain_lanes > 1,
        "single lanes": lambda a, c, r: a.chain_lanes == 1,
    },
    "planes x results": {
        f"{planes}, {results}": lambda a, c, r, p=planes, x=results: (c.formats.planes, a.results) == (p, x)
        for planes, results in product((1, 2), ("sums", "int8"))
    },
    "digit planes x order of tiles": {
        f"{planes}, {'lane by lane' if by_lanes else 'column by column'}": lambda a, c, r, p=planes, b=by_lanes: (
            c.formats.digits and (c.formats.planes, c.formats.by_lanes) == (p, b)
        )
        for planes, by_lanes in product((1, 2, 3, 4, 5), (False, True))
    },
    "planes of equal weight": {
        "three and more": lambda a, c, r: c.formats.planes > 2 and not c.formats.digits,
        "on an array with digits": lambda a, c, r: a.digits and not c.formats.digits,
    },
    "tiles lane by lane": {
        "several beats": lambda a, c, r: c.formats.by_lanes and a.trit_beats > 1,
        "one beat": lambda a, c, r: c.formats.by_lanes and a.trit_beats == 1,
        "words that cut lanes": lambda a, c, r: c.formats.by_lanes and a.trit_beats > 1 and a.rows % a.trit_beats != 0,
        "-1 trits alone": lambda a, c, r: c.formats.by_lanes and bool((c.planes == -1).all()),
    },
    "formats": {
        "exponents": lambda a, c, r: c.exponents is not None and bool(c.exponents.any()),
        "the largest exponent": lambda a, c, r: c.exponents is not None and bool((c.exponents == a.max_exponent).any()),
        "sum of x beside sums": lambda a, c, r: a.sum_of_x and a.results == "sums",
        "one scale, without offset": lambda a, c, r: a.results == "int8" and not (c.formats.row_scales or a.sum_of_x),
        "one scale and offset": lambda a, c, r: a.results == "int8" and not c.formats.row_scales and a.sum_of_x,
        "row scales, without offsets": lambda a, c, r: c.formats.row_scales and not a.sum_of_x,
        "row scales and offsets": lambda a, c, r: c.formats.row_scales and a.sum_of_x,
        "row scales for several column tiles and token tiles": lambda a, c, r: (
            c.formats.row_scales and all(tiles > 1 for tiles in _tiles(a, c)[:2])
        ),
        "shift 0": lambda a, c, r: a.results == "int8" and c.formats.shift == 0,
        "shift of 32 and more": lambda a, c, r: c.formats.shift >= 32,
        "saturated at 127": lambda a, c, r: a.results == "int8" and bool((r.results == 127).any()),
        "saturated at -127": lambda a, c, r: a.results == "int8" and bool((r.results == -127).any()),
        "rounded within": lambda a, c, r: (
            a.results == "int8" and bool(((r.results != 0) & (abs(r.results) < 127)).any())
        ),
    },
}


_SYSTOLIC: dict[str, dict[str, Judge]] = {
    "grid": {
        "one element": lambda a, c, r: a.lanes == 1,
        "more rows than columns": lambda a, c, r: a.rows > a.cols,
        "more columns than rows": lambda a, c, r: a.cols > a.rows,
    },
    "final issues": {
        "that wait for the readout of the one before": lambda a, c, r: (
            not any(_stalled(c)) and r.counters["output_stall"] > 0
        ),
        "that follow each other without waiting": lambda a, c, r: (
            _tiles(a, c)[1] > 1 and not any(_stalled(c)) and r.counters["output_stall"] == 0
        ),
        "of whole and of short token tiles": lambda a, c, r: c.m > a.rows and c.m % a.rows != 0,
        "of short folds after whole ones": lambda a, c, r: c.k > a.rows and c.k % a.rows != 0,
    },
}

BINS = {"tree": _BOTH | _TREE, "systolic": _BOTH | _SYSTOLIC}


def cover(hits: Hits, config: ArrayConfig, case: Case, record: Record) -> None:
    """Count the bins that a played case falls into."""
    for group, bins in BINS[config.organisation].items():
        for name, judge in bins.items():
            hits[config.organisation, group, name] += bool(judge(config, case, record))


def empty_bins(hits: Hits, organisation: str) -> list[tuple[str, str]]:
    """Group and name of each bin that no case fell into."""
    bins = [(group, name) for group, bins in BINS[organisation].items() for name in bins]
    return [key for key in bins if not hits[organisation, *key]]


def main() -> None:
    """Play, check and print."""
    from tests.hw.gateware.random_gemms import GRIDS, TREES, array_name, check, played

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=24, help="random GEMMs per array")
    cases = parser.parse_args().cases
    hits, equal = Hits(), 0
    print(f"{'array':>32} {'cases':>5} {'RTL cycles':>10} {'stalled':>8}   RTL == stepping == naive (== closed form)")
    for config in TREES + GRIDS:
        with tempfile.TemporaryDirectory() as folder:
            pairs = played(config, cases, Path(folder))
        for case, record in pairs:
            check(config, case, record)
            cover(hits, config, case, record)
        cycles = [record.counters for _, record in pairs]
        stalls = sum(value for one in cycles for cause, value in one.items() if cause.endswith("_stall"))
        print(
            f"{array_name(config):>32} {len(pairs):5} {sum(one['cycles'] for one in cycles):10} {stalls:8}   equal",
            flush=True,
        )
        equal += len(pairs)
    print(f"{equal} random GEMMs, results and every counter equal")
    for organisation, groups in BINS.items():
        for group, bins in groups.items():
            print(f"\n{organisation}: {group}")
            for name in bins:
                print(f"  {hits[organisation, group, name]:5}  {name}")
    empty = {organisation: bins for organisation in BINS if (bins := empty_bins(hits, organisation))}
    raise SystemExit(f"empty bins: {empty}" if empty else 0)


if __name__ == "__main__":
    main()
