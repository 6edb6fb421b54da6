"""The memory port, edge by edge: a burst's first word comes ``latency`` edges after its request, then one per edge."""

from typing import NamedTuple

import numpy as np
from numba import njit

from hw.trit import TRITS_PER_BYTE

__all__ = ["GemmSteps", "MemoryTiming", "is_open", "read", "step_gemm", "write"]

_NEVER = 1 << 60
_PARTS = TRITS_PER_BYTE["2bit"]  # of a beat; a word of packed trits holds one more


class MemoryTiming(NamedTuple):
    """``stalls``: 0 or 1 at every edge since reset, again and again; 0 keeps words and writes back. int64."""

    latency: int
    stalls: np.ndarray


class GemmSteps(NamedTuple):
    """A GEMM's tiles and what stands before and behind the array; int64."""

    column_tiles: int
    tiles: int  # of a column tile: planes times folds
    vectors: int  # that meet every tile: rows
    beats: int  # memory words of a tile
    bursts: int
    burst_words: int
    packed: bool  # 5 beats of 4 words
    takes: np.ndarray  # edges that the vector lanes need for the beat of each row
    latency: int  # of the array's pipeline
    queue_depth: int


@njit(cache=True)
def is_open(memory: MemoryTiming, edge: int) -> bool:
    """Whether memory gives words and takes writes on that edge."""
    return memory.stalls.size == 0 or memory.stalls[edge % memory.stalls.size] != 0


@njit(cache=True)
def read(memory: MemoryTiming, edge: int, words: int, parts: int, last_parts: int) -> int:
    """The edge that takes the last part of a burst which is asked for on ``edge``.

    A memory word stays for ``parts`` edges, the last one for ``last_parts``; stalls interrupt it.
    """
    edge += memory.latency - 1
    for word in range(words):
        left = last_parts if word == words - 1 else parts
        while left:
            edge += 1
            if is_open(memory, edge):
                left -= 1
    return edge


@njit(cache=True)
def write(memory: MemoryTiming, edge: int, writes: int) -> int:
    """The edge that takes the last of ``writes`` writes, the first of which is offered on the edge behind ``edge``."""
    while writes:
        edge += 1
        if is_open(memory, edge):
            writes -= 1
    return edge


@njit(cache=True)
def step_gemm(gemm: GemmSteps, memory: MemoryTiming, start: int) -> tuple[int, int]:
    """Step a GEMM that starts on edge ``start``: the edge on which its last beat of sums is taken, and its issues."""
    tile_count, results = gemm.column_tiles * gemm.tiles, gemm.column_tiles * gemm.vectors
    in_flight = np.full(gemm.queue_depth, _NEVER, np.int64)  # ring: edge from which each result is valid
    newest, oldest, credits = 0, 0, gemm.queue_depth
    loaded, shadow_beats, shadow_full, swaps, left, issues = 0, 0, False, 0, 0, 0
    asking, bursts, words_left, first_word = True, gemm.bursts, 0, _NEVER
    taken, spent, parts = 0, 0, 0  # parts: of a beat that are left of packed words
    edge = start
    while taken < results:
        edge += 1
        offered = parts == _PARTS or (words_left > 0 and edge >= first_word and is_open(memory, edge))
        active = left > 0
        final = active and swaps % gemm.tiles == 0  # the active tile is the last of its column tile
        issue = active and (credits > 0 or not final)
        swap = shadow_full and (not active or (issue and left == 1))
        beat = offered and loaded < tile_count and (not shadow_full or swap)
        valid = in_flight[oldest] <= edge

        if asking:
            asking, words_left, first_word = False, gemm.burst_words, edge + memory.latency
        elif beat and parts < _PARTS:
            words_left -= 1
            if words_left == 0 and bursts > 1:
                bursts -= 1
                asking = True
        if valid:
            spent += 1
            if spent == gemm.takes[taken % gemm.vectors]:
                spent = 0
                in_flight[oldest] = _NEVER
                oldest = oldest + 1 if oldest + 1 < gemm.queue_depth else 0
                credits += 1
                taken += 1
        if issue:
            left -= 1
            issues += 1
            if final:
                in_flight[newest] = edge + gemm.latency
                newest = newest + 1 if newest + 1 < gemm.queue_depth else 0
                credits -= 1
        if swap:
            left = gemm.vectors
            swaps += 1
            shadow_full = False
        if beat:
            if gemm.packed:
                parts = parts + 1 if parts < _PARTS else 0
            shadow_beats += 1
            if shadow_beats == gemm.beats:
                shadow_beats, shadow_full = 0, True
                loaded += 1
    return edge, issues
