"""Functional coverage: which tile shapes, stalls and formats the random GEMMs under Icarus have hit.

``python -m tests.hw.coverage`` runs them and prints how many cases fell into each declared bin, and the number of cases
whose RTL counters equal both cycle models; ``--cases 90`` runs as many per array as the slow tests do.
"""

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable
from itertools import product
from pathlib import Path

from hw.config import ArrayConfig
from hw.golden import gemm
from tests.hw.rtl import Case, Record

__all__ = ["BINS", "Hits", "cover"]

Judge = Callable[[ArrayConfig, Case, Record], bool]
Hits = Counter  # (group, bin) -> cases


def _stalled(case: Case) -> tuple[bool, bool, bool]:
    return bool(case.weight_offers), bool(case.activation_offers), bool(case.result_readies)


def _folds(config: ArrayConfig, case: Case) -> int:
    return -(-case.k // config.rows)


def _column_tiles(config: ArrayConfig, case: Case) -> int:
    return -(-case.n // config.cols)


def _refusals(record: Record) -> int:
    """Edges on which the sink was not ready."""
    return record.patterns["results_ready"].count(0)


_ONE = ("1", "several")

BINS: dict[str, dict[str, Judge]] = {
    "m": {
        "1 token": lambda a, c, r: c.m == 1,
        "part of a token tile": lambda a, c, r: c.m < a.token_tile,
        "one whole token tile": lambda a, c, r: c.m == a.token_tile,
        "one token more": lambda a, c, r: c.m == a.token_tile + 1,
        "three token tiles": lambda a, c, r: c.m > 2 * a.token_tile,
    },
    "n": {
        "1 output": lambda a, c, r: c.n == 1,
        "part of the columns": lambda a, c, r: c.n < a.cols,
        "all columns": lambda a, c, r: c.n == a.cols,
        "one column more": lambda a, c, r: c.n == a.cols + 1,
        "three column tiles": lambda a, c, r: c.n > 2 * a.cols,
    },
    "k": {
        "1 input": lambda a, c, r: c.k == 1,
        "part of the lanes": lambda a, c, r: c.k < a.rows,
        "all lanes": lambda a, c, r: c.k == a.rows,
        "one lane more": lambda a, c, r: c.k == a.rows + 1,
        "four folds": lambda a, c, r: c.k > 3 * a.rows,
    },
    "token x column x fold tiles": {
        f"{tokens}, {columns}, {folds}": lambda a, c, r, t=tokens, n=columns, f=folds: (
            (c.m > a.token_tile, _column_tiles(a, c) > 1, _folds(a, c) > 1)
            == (t == "several", n == "several", f == "several")
        )
        for tokens, columns, folds in product(_ONE, _ONE, _ONE)
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
        "chains": lambda a, c, r: a.chain_lanes > 1,
        "single lanes": lambda a, c, r: a.chain_lanes == 1,
        "one beat per tile": lambda a, c, r: a.weight_beats == 1,
        "words that cut columns": lambda a, c, r: a.weight_beats > 1 and a.cols % a.weight_beats != 0,
    },
    "planes x results": {
        f"{planes}, {results}": lambda a, c, r, p=planes, x=results: (c.formats.planes, a.results) == (p, x)
        for planes, results in product((1, 2), ("sums", "int8"))
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
            c.formats.row_scales and _column_tiles(a, c) > 1 and c.m > a.token_tile
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


def cover(hits: Hits, config: ArrayConfig, case: Case, record: Record) -> None:
    """Count the bins that a played case falls into."""
    for group, bins in BINS.items():
        for name, judge in bins.items():
            hits[group, name] += bool(judge(config, case, record))


def main() -> None:
    """Play, check and print."""
    from tests.hw.test_core_rtl import ARRAYS, check, name, played

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=24, help="random GEMMs per array")
    cases = parser.parse_args().cases
    hits, equal = Hits(), 0
    print(f"{'array':>32} {'cases':>5} {'RTL cycles':>10} {'stalled':>8}   RTL == stepping == naive (== closed form)")
    for config in ARRAYS:
        with tempfile.TemporaryDirectory() as folder:
            pairs = played(config, cases, Path(folder))
        for case, record in pairs:
            check(config, case, record)
            cover(hits, config, case, record)
        cycles = [record.counters for _, record in pairs]
        stalls = sum(value for one in cycles for cause, value in one.items() if cause.endswith("_stall"))
        print(
            f"{name(config):>32} {len(pairs):5} {sum(one['cycles'] for one in cycles):10} {stalls:8}   equal",
            flush=True,
        )
        equal += len(pairs)
    print(f"{equal} random GEMMs, results and every counter equal\n")
    for group, bins in BINS.items():
        print(group)
        for bin_name in bins:
            print(f"  {hits[group, bin_name]:5}  {bin_name}")
    empty = [key for key in ((group, one) for group, bins in BINS.items() for one in bins) if not hits[key]]
    raise SystemExit(f"empty bins: {empty}" if empty else 0)


if __name__ == "__main__":
    main()
