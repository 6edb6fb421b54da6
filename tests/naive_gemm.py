"""One GEMM behind its buffers and DRAM as slow, obvious loops: counts, cycles and causes; ``sim.gemm`` must equal it.

Written from docs/architecture.md and docs/simulator.md: every vector that enters the array and every weight tile that
passes its bus is walked. Sizes must be small.
"""

import math
from collections import Counter
from fractions import Fraction
from typing import NamedTuple

__all__ = ["FORMATS", "RESIDUAL", "naive_gemm", "up"]


class Format(NamedTuple):
    """What an arithmetic stores and multiplies."""

    activation_bits: int
    weight_bits: int
    passes: int  # of an 8- or 16-bit weight (K, V, lm_head) over the array; 0: it never passes
    pass_bits: int  # of such a weight in each pass
    output_scales: int  # multiplies that dequantize an output of a linear; trits: per group and plane
    dense_scales: int  # the same for K, V and lm_head, whatever the passes
    head_bits: int  # of lm_head's weights on the vector unit


FORMATS = {
    "ternary": Format(8, 2, 0, 0, 1, 0, 8),
    "int8": Format(8, 8, 1, 8, 1, 1, 8),
    "fp16": Format(16, 16, 1, 16, 0, 0, 16),
    "w4a8": Format(8, 4, 2, 4, 1, 1, 8),
    "w2a8": Format(8, 2, 4, 2, 1, 1, 8),
    "w4a16": Format(16, 4, 1, 16, 1, 0, 16),
}
RESIDUAL = 16  # bits of what passes between ops


def up(value) -> int:
    """Rounded up."""
    return math.ceil(value)


def naive_gemm(
    array, memory, m, n, k, *, bits, stored=None, planes=1, group=None, output_bits=RESIDUAL, inputs_here=False,
    outputs_here=False, weights_here=False, order="tokens", descriptor=None, prefetch=None, double_buffer=True,
    column_cores=1, fold_cores=1, link_bits=None, head_start=0, tile_bytes=None,
    digits=False,
) -> Counter:  # fmt: skip
    """Counts of one GEMM, its ``cycles`` and its causes. ``bits`` of a weight on its bus, ``stored`` in DRAM.

    ``tile_bytes``: of a whole tile in DRAM, whatever the bits of its weights; ``digits``: plane p weighs 3**p.
    """
    counts = Counter()
    rows, cols, grid = array.rows, array.cols, array.organisation == "systolic"
    activation = FORMATS[array.mac].activation_bits
    rate = Fraction(memory.channels * memory.peak_bytes_per_s * memory.sequential_efficiency / array.clock_hz)
    pieces = []  # lanes of each fold that hold something
    starts = []  # position of K at which each begins
    for _ in range(planes):
        for first in range(0, k, group or k):
            end = min(first + (group or k), k)
            pieces += [min(rows, end - at) for at in range(first, end, rows)]
            starts += range(first, end, rows)
    columns = [min(cols, n - first) for first in range(0, n, cols)]
    tile = tile_bytes or up(rows * cols * (stored or bits) / 8)
    tile = 0 if weights_here else tile + up(cols * array.group_exponent_bits / 8)
    scales = 0 if weights_here else up(cols * array.scale_bits / 8)
    beats = up(up(rows * cols * bits / 8) * 8 / array.weight_bus_bits)
    beats += up(cols * array.group_exponent_bits / array.weight_bus_bits)
    scale_beats = up(cols * array.scale_bits / array.weight_bus_bits)
    column_bytes = len(pieces) * tile + scales
    buffer, slab = array.weight_buffer_bytes, array.activation_buffer_bytes * 8
    inputs_here = inputs_here or 2 * m * k * activation <= slab
    outputs_here = outputs_here or 2 * m * n * output_bits <= slab
    descriptor = min(descriptor or m, m)
    block = len(columns)
    if order == "columns" and column_bytes:
        block = min(block, buffer // column_bytes // column_cores * column_cores)
    weights_stay = block * column_bytes <= buffer
    inputs_stay = min(descriptor, array.token_tile) * (k * activation + 2 * cols * output_bits) <= slab
    slot = column_cores * fold_cores * max(tile, up(rows * cols * bits / 8))
    interval = 1
    if fold_cores > 1 and link_bits:
        interval = up(cols * array.accumulator_bits / link_bits)
    latency = array.pipeline_latency
    while 2 ** (latency - array.pipeline_latency) < fold_cores:
        latency += 1  # a level of adders for every doubling

    in_buffer = set()
    for first_column in range(0, len(columns), block):
        for first_token in range(0, m, descriptor):
            end_token = min(first_token + descriptor, m)
            here = columns[first_column : first_column + block]
            slots = min(buffer // slot, up(block / column_cores) * up(len(pieces) / fold_cores))
            slots = min(slots, prefetch or slots)
            early = head_start if first_token == first_column == 0 else 0
            dram = Fraction(memory.latency_s * array.clock_hz) - early
            loads, chain, gaps = [], [], 0
            swapped = done = restart = leaving = 0
            released = -(10**9)
            counts["fill_drain"] += 1  # the edge that accepts the descriptor
            brought = set()
            for at in range(first_token, end_token, array.token_tile):
                tokens = min(array.token_tile, end_token - at)
                held = set()  # parts of the token tile's inputs that are in the activation buffer
                for c in range(0, len(here), column_cores):
                    together = range(c, min(c + column_cores, len(here)))
                    for f in range(0, len(pieces), fold_cores):
                        folds = range(f, min(f + fold_cores, len(pieces)))
                        last = folds[-1] == len(pieces) - 1
                        read = written = 0
                        for column in together:
                            known = first_column + column in in_buffer
                            if not (weights_stay and known):
                                read += len(folds) * tile + last * scales
                                counts["weight_buffer_write_bits"] += 8 * (len(folds) * tile + last * scales)
                            if last:
                                brought.add(first_column + column)
                            written += last and not outputs_here and tokens * cols * output_bits // 8
                            counts["weight_buffer_read_bits"] += (
                                len(folds) * beats + last * scale_beats
                            ) * array.weight_bus_bits
                        counts["dram_read_bits"] += 8 * read
                        counts["dram_write_bits"] += 8 * written
                        for fold in folds:
                            if not inputs_here and starts[fold] not in held:
                                read += tokens * rows * activation // 8
                                counts["dram_read_bits"] += tokens * rows * activation
                                counts["activation_buffer_write_bits"] += tokens * rows * activation
                                held |= {starts[fold]} if inputs_stay else set()
                        number = len(loads)
                        arrived, late = 0, None
                        if read + written:
                            free = loads[number - slots] if number >= slots else -early
                            late = number - slots if number >= slots and free > dram else None
                            dram = max(dram, free) + (read + written * Fraction(memory.write_cost)) / rate
                            arrived = up(dram)
                        bus_free = max(loads[-1] + 1 if loads else 1, swapped) if double_buffer else done + 1
                        start = max(bus_free, arrived + 1)
                        taken = beats + scale_beats * last
                        loads.append(start + taken - 1)
                        swapped = max(loads[-1] + 1, done)
                        if number == 0:
                            counts["fill_drain"] += taken + 1
                            counts["dram_stall"] += start - 1
                        moved = (read + written * Fraction(memory.write_cost)) / rate
                        for_dram = read + written > 0 and arrived + 1 >= bus_free
                        chain.append(_Waits(taken, moved, late, for_dram, loads[-1] + 1 > done))
                        gaps += swapped - done if number else 0
                        issues = max(pieces[fold] for fold in folds) if grid else tokens
                        idle = max(0, done + restart - swapped) if grid else 0
                        waits = 0
                        if last and grid:
                            waits = max(0, released + leaving * interval - (swapped + idle + issues))
                        elif last:
                            waits = tokens * (interval - 1)
                        done = swapped + idle + issues + waits
                        counts["ideal"] += issues
                        counts["fill_drain"] += idle
                        counts["output_stall"] += waits
                        restart = int(last)
                        if last:
                            released, leaving = done, tokens
                        for column in together:
                            for fold in folds:
                                _enter(counts, array, tokens, here[column], pieces[fold], fold < fold_cores)
                                plane = fold // (len(pieces) // planes)
                                # times 3, 9, 3 x 9, 9 x 9: an addition for each factor
                                counts["digit_additions"] += digits and tokens * cols * (0, 1, 1, 2, 2)[plane]
                            if last:
                                counts["result_vectors"] += tokens
                                added = tokens * cols * (fold_cores - 1)
                                counts["reductions"] += added
                                counts["accumulator_read_bits"] += added * array.accumulator_bits
                                counts["accumulator_write_bits"] += added * array.accumulator_bits
                if weights_stay:
                    in_buffer |= brought
            drain = latency + (leaving - 1 if grid else 0)
            counts["fill_drain"] += drain
            beats_waited, dram_waited = (min(gaps, waited) for waited in _longest_chain(chain))
            of_the_bus = gaps * beats_waited // (beats_waited + dram_waited) if gaps else 0
            counts["weight_stall"] += int(of_the_bus)
            counts["dram_stall"] += gaps - int(of_the_bus)
            counts["cycles"] += 1 + done + drain
    counts["activation_buffer_write_bits"] += m * n * output_bits
    if not outputs_here:
        counts["activation_buffer_read_bits"] += m * n * output_bits
    return counts


class _Waits(NamedTuple):
    """What a round took, and which of two things it waited for where it waited for the later one."""

    beats: int
    dram: Fraction  # cycles of its transfer
    slot: int | None  # its transfer waited for the last beat of this round, not for the transfer before
    for_dram: bool  # its first beat waited for its bytes, not for the swap before
    for_beats: bool  # its swap waited for its last beat, not for the vectors before


def _longest_chain(rounds: list[_Waits]) -> tuple[int, Fraction]:
    """Beats and cycles of DRAM on the chain of waits that ends at the last swap, without those of the first round."""
    beats, dram, at, where = 0, Fraction(0), len(rounds) - 1, "swap"
    while at > 0:
        one = rounds[at]
        if where == "swap" and not one.for_beats:
            at -= 1
        elif where == "swap":
            where = "load"
        elif where == "load":
            beats += one.beats
            at, where = (at, "transfer") if one.for_dram else (at - 1, "swap")
        else:
            dram += one.dram
            at, where = (one.slot, "load") if one.slot is not None else (at - 1, "transfer")
    return beats, dram


def _enter(counts: Counter, array, tokens: int, width: int, lanes: int, first: bool) -> None:
    """``tokens`` tokens pass a tile of ``width`` columns and ``lanes`` lanes; ``first``: there is nothing to add to."""
    activation = FORMATS[array.mac].activation_bits
    if array.organisation == "systolic":
        for _ in range(lanes):  # positions of K, each of all tokens at once
            counts["array_macs"] += tokens * width
            counts["array_macs_padding"] += array.rows * array.cols - tokens * width
            counts["activation_buffer_read_bits"] += tokens * activation
            counts["accumulations"] += array.rows * array.cols
        return
    for _ in range(tokens):
        counts["array_macs"] += width * lanes
        counts["array_macs_padding"] += array.rows * array.cols - width * lanes
        counts["activation_buffer_read_bits"] += array.rows * activation
        counts["accumulations"] += array.cols
        counts["accumulator_write_bits"] += array.cols * array.accumulator_bits
        counts["accumulator_read_bits"] += 0 if first else array.cols * array.accumulator_bits
