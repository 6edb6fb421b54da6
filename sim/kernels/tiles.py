"""Numba kernel: one GEMM stepped weight tile by weight tile, with DRAM behind the weight bus.

A round is the tiles that the cores use together: up to ``column_cores`` column tiles, up to ``fold_cores`` folds of
each; one core has rounds of one tile. Round j of b_j beats, in edges after the descriptor's::

    arrived a_j     when DRAM has moved the round's bytes, which it starts once a slot of the weight buffer is free
    loaded  l_j  =  max(l_(j-1), w_(j-1) - 1, a_j) + b_j        the last of its beats on every core's bus
    swapped w_j  =  max(l_j + 1, d_(j-1))                       the shadow tile becomes the active one
    done    d_j  =  max(w_j, d_(j-1) + f) + s_j + (waits for results to leave)     its last vector enters

with s_j issues, and f = 1 on a grid whose round j-1 ended a column tile, else 0: docs/architecture.md's recurrence.

Each maximum has the term that was waited for (the bytes, where bytes and bus are ready at once); followed from the last
swap back to the first, these are the longest chain of waits. Cycles in which no vector enters for want of a tile are
the bus's and DRAM's in the proportion in which beats and transfers stand on that chain, neither with more than all
those cycles. What is not on it could be twice as fast and no round would come earlier; doubling the bus or DRAM saves
at most twice the cycles that are charged to it.

Column tiles of a token tile come to repeat each other (``sim.kernels.repeats``), and those that would are passed over:
the result is that of every round stepped.
"""

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from sim.kernels.causes import TileCounts
from sim.kernels.repeats import SEEN, SLOT, WALK
from sim.kernels.rounds import TICKS_PER_CYCLE, CoreTiming, DramFeed, Rounds

__all__ = ["step_tiles"]

_LONG_AGO = -(1 << 40)  # an edge before every GEMM
_FAR = 1 << 60
_FEWEST_SLOTS = 3  # with which DRAM, slower than the bus, never waits for room


class _Round(NamedTuple):
    """The tiles of one round."""

    tokens: int
    columns: int
    folds: int
    input_folds: int  # of them that may bring inputs
    first_tokens: bool
    first_columns: bool
    last_folds: bool


class _Column(NamedTuple):
    """Column tiles that the cores take together, with the tokens of one tile."""

    tokens: int
    columns: int
    first_tokens: bool
    first_columns: bool


@njit(cache=True)
def step_tiles(rounds: Rounds, core: CoreTiming, feed: DramFeed, positions: np.ndarray) -> TileCounts:
    """Step a GEMM to its last result.

    ``positions``: int64, positions of K in each fold where outputs are stationary: a tile takes a vector per position,
    and the last of a column tile releases a result per token. Empty where weights are: a tile takes a vector per token,
    and each of a last fold releases a result.
    """
    walk, then, seen = np.zeros(1, WALK), np.zeros(1, WALK), np.zeros(1, SEEN)
    slots, slots_then = np.zeros(feed.buffer_rounds, SLOT), np.zeros(feed.buffer_rounds, SLOT)
    slots["free"][:] = -feed.head_start
    walk[0]["dram_ticks"] = feed.first_word_ticks - feed.head_start * TICKS_PER_CYCLE
    walk[0]["released"] = _LONG_AGO
    per_column = -(-rounds.folds // rounds.fold_cores)
    full = rounds.column_tiles // rounds.column_cores
    for first_token in range(0, rounds.tokens, rounds.token_tile):
        tokens = min(rounds.token_tile, rounds.tokens - first_token)
        seen[0]["most"] = 0
        number = 0
        while number * rounds.column_cores < rounds.column_tiles:
            columns = min(rounds.column_cores, rounds.column_tiles - number * rounds.column_cores)
            column = _Column(tokens, columns, first_token == 0, number == 0)
            _step_column(walk, slots, seen, column, rounds, core, feed, positions)
            number += 1
            if number < full:
                number += _pass_over(walk, slots, then, slots_then, seen, full - number, per_column)
    end = walk[0]
    drain = core.latency + (end["leaving"] - 1 if positions.size > 0 else 0)
    weight_stall = _share(end["without_tile"], float(end["swap_beats"]), end["swap_moves"] / TICKS_PER_CYCLE)
    return TileCounts(
        end["done"] + drain,
        end["ideal"],
        end["fill_drain"] + drain,
        weight_stall,
        end["dram_stall"] + end["without_tile"] - weight_stall,
        end["output_stall"],
        end["moved"],
    )


@njit(cache=True)
def _step_column(
    walk: np.ndarray,
    slots: np.ndarray,
    seen: np.ndarray,
    column: _Column,
    rounds: Rounds,
    core: CoreTiming,
    feed: DramFeed,
    positions: np.ndarray,
) -> None:
    """Step the rounds of one column; ``walk``, ``slots`` and ``seen`` as in ``_pass_over``."""
    now = walk[0]
    loaded, swapped, done, released = now["loaded"], now["swapped"], now["done"], now["released"]
    restart, leaving, number, moved = now["restart"], now["leaving"], now["number"], now["moved"]
    dram_ticks, dram_beats, dram_moves = now["dram_ticks"], now["dram_beats"], now["dram_moves"]
    swap_beats, swap_moves = now["swap_beats"], now["swap_moves"]  # to the latest swap: that of the vectors behind it
    ideal, fill_drain, waiting, without_tile = 0, 0, 0, 0
    column_ticks, met, slack, gap = 0, seen[0]["met"], seen[0]["slack"], seen[0]["gap"]
    bound, busy, held = seen[0]["bound"], seen[0]["busy"], seen[0]["held"]
    stationary = positions.size > 0  # outputs are
    slot = number % slots.size
    for first_fold in range(0, rounds.folds, rounds.fold_cores):
        folds = min(rounds.fold_cores, rounds.folds - first_fold)
        last = first_fold + folds == rounds.folds
        bring = max(0, min(folds, feed.input_folds - first_fold))
        tiles = _Round(column.tokens, column.columns, folds, bring, column.first_tokens, column.first_columns, last)
        read, written = _bytes_read(feed, tiles), _bytes_written(feed, tiles)
        brings = read + written > 0
        arrived, ticks, room = 0, 0, True
        if brings:
            room = slots[slot]["free"] * TICKS_PER_CYCLE <= dram_ticks
            if room:
                slack = min(slack, dram_ticks - slots[slot]["free"] * TICKS_PER_CYCLE)
            else:
                dram_ticks = slots[slot]["free"] * TICKS_PER_CYCLE
                dram_beats, dram_moves = slots[slot]["beats"], slots[slot]["moves"]
            ticks = read * feed.ticks_per_byte + written * feed.ticks_per_written_byte
            dram_ticks += ticks
            dram_moves += ticks if number > 0 else 0
            arrived = -(-dram_ticks // TICKS_PER_CYCLE)
            moved += read + written
            column_ticks += ticks

        bus_free = max(loaded + 1, swapped) if core.double_buffer else done + 1
        load_start = max(bus_free, arrived + 1)
        beats = core.last_beats if last else core.beats
        waits_for_bytes = arrived + 1 >= bus_free and brings
        loaded = load_start + beats - 1
        slots[slot]["free"] = loaded
        swapped = max(loaded + 1, done)
        if number == 0:
            fill_drain += beats + 1
            now["dram_stall"] += load_start - 1
        else:
            load_beats, load_moves = (dram_beats, dram_moves) if waits_for_bytes else (swap_beats, swap_moves)
            load_beats += beats
            slots[slot]["beats"], slots[slot]["moves"] = load_beats, load_moves
            if loaded >= done:
                swap_beats, swap_moves = load_beats, load_moves
            without_tile += swapped - done
        if brings:
            gap = min(gap, bus_free - arrived - 1)
            met = met if room and not waits_for_bytes else 1
        alone = room and waits_for_bytes and loaded >= done and ticks // TICKS_PER_CYCLE >= max(busy, held - beats)
        bound = bound + 1 if alone and not stationary else 0

        if stationary:
            idle = max(0, done + restart - swapped)
            issues = positions[first_fold : first_fold + folds].max()
            free = released + leaving * core.result_interval
            waits = max(0, free - (swapped + idle + issues)) if last else 0
        else:
            idle, issues = 0, column.tokens
            waits = issues * (core.result_interval - 1) if last else 0
        done = swapped + idle + issues + waits
        held = beats + 1 + issues + waits
        busy = beats if core.double_buffer else held
        restart = 1 if stationary and last else 0
        if last:
            released, leaving = done, column.tokens
        ideal += issues
        fill_drain += idle
        waiting += waits
        number += 1
        slot = slot + 1 if slot + 1 < slots.size else 0
    now["loaded"], now["swapped"], now["done"], now["released"] = loaded, swapped, done, released
    now["restart"], now["leaving"], now["number"], now["moved"] = restart, leaving, number, moved
    now["dram_ticks"], now["dram_beats"], now["dram_moves"] = dram_ticks, dram_beats, dram_moves
    now["swap_beats"], now["swap_moves"] = swap_beats, swap_moves
    now["ideal"] += ideal
    now["fill_drain"] += fill_drain
    now["output_stall"] += waiting
    now["without_tile"] += without_tile
    seen[0]["ticks"] += column_ticks
    seen[0]["met"], seen[0]["slack"], seen[0]["gap"] = met, slack, gap
    seen[0]["bound"], seen[0]["busy"], seen[0]["held"] = bound, busy, held


@njit(cache=True)
def _share(cycles: int, part: float, other: float) -> int:
    """``cycles`` in the proportion of ``part`` to ``other``, each at most all of them; rounded down."""
    part, other = min(part, float(cycles)), min(other, float(cycles))
    return math.floor(cycles * part / (part + other)) if cycles > 0 else 0


@njit(cache=True)
def _bytes_read(feed: DramFeed, tiles: _Round) -> int:
    """Weights, scales and inputs that come with a round."""
    read = 0
    if tiles.first_tokens or not feed.weights_stay:
        read += feed.weight_bytes * tiles.columns * tiles.folds
        read += feed.scale_bytes * tiles.columns if tiles.last_folds else 0
    if tiles.first_columns or not feed.inputs_stay:
        read += feed.input_bytes * tiles.tokens * tiles.input_folds
    return read


@njit(cache=True)
def _bytes_written(feed: DramFeed, tiles: _Round) -> int:
    """Outputs that are charged with a round."""
    return feed.output_bytes * tiles.tokens * tiles.columns if tiles.last_folds else 0


@njit(cache=True)
def _pass_over(walk, slots, then, slots_then, seen, left: int, rounds: int) -> int:
    """Columns, of ``left`` alike ones that follow, over which ``walk`` and ``slots`` were carried; 0: they were not.

    ``walk``, ``then``: of dtype ``WALK``, one each, now and at the state that is compared with; ``slots``,
    ``slots_then``: of dtype ``SLOT``, a ring; ``seen``: of dtype ``SEEN``, one. ``rounds``: of a column.
    """
    if seen[0]["most"] == 0:
        _compare_with(walk, slots, then, slots_then, seen, 1)
        seen[0]["bound"] = 0
        return 0
    seen[0]["columns"] += 1
    passed = 0
    if seen[0]["bound"] >= max(rounds, _FEWEST_SLOTS) and slots.size >= _FEWEST_SLOTS:
        passed = max(0, left - -(-slots.size // rounds))  # the rest fills the ring anew
        if passed > 0:
            _carry_dram(walk, then, seen, passed)
    elif _alike(walk, slots, then, slots_then, seen[0]["met"] == 1):
        times = min(left // seen[0]["columns"], _repetitions(walk, then, seen))
        passed = times * seen[0]["columns"]
        if times > 0:
            _carry(walk, slots, then, slots_then, seen, times)
    if passed > 0 or seen[0]["columns"] == seen[0]["most"]:
        _compare_with(walk, slots, then, slots_then, seen, 1 if passed > 0 else 2 * seen[0]["most"])
    return passed


@njit(cache=True)
def _compare_with(walk, slots, then, slots_then, seen, most: int) -> None:
    """Later states are compared with this one."""
    then[0] = walk[0]
    slots_then[:] = slots
    seen[0]["columns"] = 0
    seen[0]["most"] = most
    seen[0]["ticks"] = 0
    seen[0]["met"] = 0
    seen[0]["slack"] = _FAR
    seen[0]["gap"] = _FAR


@njit(cache=True)
def _alike(walk, slots, then, slots_then, with_dram: bool) -> bool:
    """Whether edges and chains stand to each other as then; ``with_dram``: its clock and chain, too."""
    now, before = walk[0], then[0]
    cycles = now["done"] - before["done"]
    beats, moves = now["swap_beats"] - before["swap_beats"], now["swap_moves"] - before["swap_moves"]
    if (
        now["loaded"] - before["loaded"] != cycles
        or now["swapped"] - before["swapped"] != cycles
        or now["released"] - before["released"] != cycles
        or now["restart"] != before["restart"]
        or now["leaving"] != before["leaving"]
    ):
        return False
    at, at_then = now["number"] % slots.size, before["number"] % slots.size
    if with_dram:
        idle = now["dram_ticks"] < slots[at]["free"] * TICKS_PER_CYCLE  # what it did is forgotten as it waits for room
        idle_then = before["dram_ticks"] < slots_then[at_then]["free"] * TICKS_PER_CYCLE
        if idle != idle_then or (
            not idle
            and (
                now["dram_ticks"] - before["dram_ticks"] != cycles * TICKS_PER_CYCLE
                or now["dram_beats"] - before["dram_beats"] != beats
                or now["dram_moves"] - before["dram_moves"] != moves
            )
        ):
            return False
    for _ in range(slots.size):
        slot, slot_then = slots[at], slots_then[at_then]
        if (
            slot["free"] - slot_then["free"] != cycles
            or slot["beats"] - slot_then["beats"] != beats
            or slot["moves"] - slot_then["moves"] != moves
        ):
            return False
        at = at + 1 if at + 1 < slots.size else 0
        at_then = at_then + 1 if at_then + 1 < slots.size else 0
    return True


@njit(cache=True)
def _repetitions(walk, then, seen) -> int:
    """How often the columns since then repeat, before DRAM's clock meets what it was apart from."""
    if seen[0]["met"] == 1:
        return _FAR
    nearer = seen[0]["ticks"] - (walk[0]["done"] - then[0]["done"]) * TICKS_PER_CYCLE
    if nearer < 0:  # DRAM is faster, and gains on the slots
        return seen[0]["slack"] // -nearer
    if nearer > 0:
        return min(_FAR // TICKS_PER_CYCLE, seen[0]["gap"] - 1) * TICKS_PER_CYCLE // nearer
    return _FAR


@njit(cache=True)
def _carry(walk, slots, then, slots_then, seen, times: int) -> None:
    """The state after ``times`` repetitions of the columns since then."""
    now, before = walk[0], then[0]
    cycles = times * (now["done"] - before["done"])
    beats = times * (now["swap_beats"] - before["swap_beats"])
    moves = times * (now["swap_moves"] - before["swap_moves"])
    rounds = times * (now["number"] - before["number"])
    slots_then[:] = slots  # compared with anew by the caller
    for slot in range(slots.size):
        to = (slot + rounds) % slots.size
        slots[to]["free"] = slots_then[slot]["free"] + cycles
        slots[to]["beats"] = slots_then[slot]["beats"] + beats
        slots[to]["moves"] = slots_then[slot]["moves"] + moves
    if seen[0]["met"] == 1:
        now["dram_ticks"] += cycles * TICKS_PER_CYCLE
        now["dram_beats"] += beats
        now["dram_moves"] += moves
    else:
        now["dram_ticks"] += times * seen[0]["ticks"]
        now["dram_moves"] += times * seen[0]["ticks"]
    now["loaded"] += cycles
    now["swapped"] += cycles
    now["done"] += cycles
    now["released"] += cycles
    now["swap_beats"] += beats
    now["swap_moves"] += moves
    now["without_tile"] += times * (now["without_tile"] - before["without_tile"])
    now["fill_drain"] += times * (now["fill_drain"] - before["fill_drain"])
    _count(now, before, times, 1)


@njit(cache=True)
def _carry_dram(walk, then, seen, columns: int) -> None:
    """The state after ``columns`` in which every edge follows from DRAM's clock; slots are left to later rounds."""
    now, before, since = walk[0], then[0], seen[0]["columns"]
    ticks = columns * (seen[0]["ticks"] // since)
    issued = now["ideal"] + now["output_stall"] - before["ideal"] - before["output_stall"]
    cycles = -(-(now["dram_ticks"] + ticks) // TICKS_PER_CYCLE) - -(-now["dram_ticks"] // TICKS_PER_CYCLE)
    now["dram_ticks"] += ticks
    now["dram_moves"] += ticks
    now["swap_moves"] += ticks
    now["loaded"] += cycles
    now["swapped"] += cycles
    now["done"] += cycles
    now["released"] += cycles
    now["without_tile"] += cycles - columns * (issued // since)
    _count(now, before, columns, since)


@njit(cache=True)
def _count(now, before, times: int, parts: int) -> None:
    """Counters of ``times`` columns, or of as many times what was counted since then in ``parts``."""
    now["number"] += times * ((now["number"] - before["number"]) // parts)
    now["moved"] += times * ((now["moved"] - before["moved"]) // parts)
    now["ideal"] += times * ((now["ideal"] - before["ideal"]) // parts)
    now["output_stall"] += times * ((now["output_stall"] - before["output_stall"]) // parts)
