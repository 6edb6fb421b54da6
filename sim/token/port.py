"""The memory port, edge by edge: reads, writes and the weights of a GEMM, and instructions fetched beside them.

Memory is a pattern (a burst's first word comes ``latency`` edges after its request, then one per edge that is open) or
the SDRAM controller of ``sdram.py``, on the same clock or behind the crossing of ``crossing.py``. Edges only go
forward: who asks names the edge, what lies before is carried out.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from hw.memory.chip import SdramChip
from hw.trit import TRITS_PER_BYTE
from sim.token import crossing, sdram
from sim.token.crossing import new_crossing
from sim.token.sdram import NO_CONTROLLER, Controller, controller_of, new_banks, new_state

__all__ = ["GemmSteps", "Memory", "fetch", "fetched", "pattern", "read", "sdram_memory", "step_gemm", "write"]

_NEVER = 1 << 60
_PARTS = TRITS_PER_BYTE["2bit"]  # of a beat; a word of packed trits holds one more

# of the port: the edge that comes next; a pattern's words that are owed, and from which edge on; instructions that are
# fetched: from which edge on they are asked for, where, how many, those that have not come, the edge of the last
_NOW, _OWED, _FROM, _ASK, _WHERE, _COUNT, _MISSING, _LAST = range(8)


class Memory(NamedTuple):
    """``stalls``: 0 or 1 at every edge since reset, again and again; 0 keeps words and writes back. int64 arrays."""

    latency: int
    stalls: np.ndarray
    controller: Controller  # of burst 0: a pattern
    port: np.ndarray
    state: np.ndarray  # of the controller
    banks: np.ndarray
    ratio: int  # edges of the controller's clock per edge
    crossing: np.ndarray  # where that is more than 1


def _memory(latency: int, stalls: bytes, controller: Controller, ratio: int = 1) -> Memory:
    port = np.zeros(8, np.int64)
    port[_ASK] = _NEVER
    pattern = np.frombuffer(stalls, np.uint8).astype(np.int64)
    state = new_state(controller, crossing.first_edge(ratio) if ratio > 1 else 0)
    return Memory(latency, pattern, controller, port, state, new_banks(controller), ratio, new_crossing())


def pattern(latency: int, stalls: bytes = b"") -> Memory:
    """A memory of that latency behind reset; ``stalls``: a byte 0 or 1 per edge, 0 keeps words and writes back."""
    return _memory(latency, stalls, NO_CONTROLLER)


def sdram_memory(chip: SdramChip, clock_hz: float, word_bits: int, ratio: int = 1) -> Memory:
    """The controller with a chip behind reset, for memory words of so many bits.

    ``clock_hz``: of chip and controller, ``ratio`` times that of the port.

    Raises:
        InputError: a clock that the chip does not reach, or words that do not fit its rows.
    """
    return _memory(1, b"", controller_of(chip, clock_hz, word_bits), ratio)


class GemmSteps(NamedTuple):
    """A GEMM's tiles and what stands before and behind the array; int64."""

    column_tiles: int
    tiles: int  # of a column tile: planes times folds
    vectors: int  # that meet every tile: rows
    beats: int  # memory words of a tile
    bursts: int
    burst_words: int
    address: int  # of the first burst
    jump: int  # from one burst to the next
    packed: bool  # 5 beats of 4 words
    takes: np.ndarray  # edges that the vector lanes need for the beat of each row
    latency: int  # of the array's pipeline
    queue_depth: int


@njit(cache=True)
def _is_open(memory: Memory, edge: int) -> bool:
    """Whether a pattern gives words and takes writes on that edge."""
    return memory.stalls.size == 0 or memory.stalls[edge % memory.stalls.size] != 0


@njit(cache=True)
def _offered(memory: Memory, edge: int) -> bool:
    """Whether a word is valid on that edge."""
    if memory.ratio > 1:
        return crossing.offered(memory.ratio, memory.crossing, edge)
    if memory.controller.burst:
        return sdram.offered(memory.controller, memory.state, edge)
    port = memory.port
    return port[_OWED] > 0 and edge >= port[_FROM] and _is_open(memory, edge)


@njit(cache=True)
def _writable(memory: Memory, edge: int) -> bool:
    """Whether a write is taken on that edge."""
    if memory.ratio > 1:
        return crossing.takes(memory.ratio, memory.crossing, edge)
    if memory.controller.burst:
        return sdram.takes(memory.controller, memory.state, edge)
    return _is_open(memory, edge)


@njit(cache=True)
def _end_edge(memory: Memory, asked: int, address: int, taken: bool, write_address: int) -> None:
    """Carry the next edge out: a request of ``asked`` words (0: none), a word taken, a write (-1: none).

    Instructions that are fetched ask and take for themselves, while nobody else reads.
    """
    port, edge = memory.port, memory.port[_NOW]
    if edge >= port[_ASK]:
        asked, address, port[_MISSING], port[_ASK] = port[_COUNT], port[_WHERE], port[_COUNT], _NEVER
    elif port[_MISSING] and _offered(memory, edge):
        taken = True
        port[_MISSING] -= 1
        port[_LAST] = edge
    if memory.ratio > 1:
        crossing.next_edge(
            memory.ratio, memory.crossing, memory.controller, memory.state, memory.banks, edge, asked, address, taken,
            write_address,
        )  # fmt: skip
    elif memory.controller.burst:
        sdram.next_edge(memory.controller, memory.state, memory.banks, edge, asked, address, taken, write_address)
    elif asked:
        port[_OWED], port[_FROM] = asked, edge + memory.latency
    elif taken:
        port[_OWED] -= 1
    port[_NOW] = edge + 1


@njit(cache=True)
def _until(memory: Memory, edge: int) -> None:
    """Carry out what lies before that edge."""
    port = memory.port
    while port[_NOW] < edge:
        if memory.controller.burst == 0 and port[_ASK] == _NEVER and port[_MISSING] == 0:
            port[_NOW] = edge
        else:
            _end_edge(memory, 0, 0, False, -1)


@njit(cache=True)
def fetch(memory: Memory, edge: int, address: int, words: int) -> None:
    """Ask for instructions on ``edge``; whatever else goes on meanwhile."""
    memory.port[_ASK], memory.port[_WHERE], memory.port[_COUNT] = edge, address, words


@njit(cache=True)
def fetched(memory: Memory) -> int:
    """The edge that takes the last word of them."""
    port = memory.port
    while port[_ASK] != _NEVER or port[_MISSING]:
        _end_edge(memory, 0, 0, False, -1)
    return port[_LAST]


@njit(cache=True)
def read(memory: Memory, edge: int, address: int, words: int, parts: int, last_parts: int) -> int:
    """The edge that takes the last part of a burst which is asked for on ``edge``.

    A memory word stays for ``parts`` edges, the last one for ``last_parts``; stalls interrupt it.
    """
    _until(memory, edge)
    _end_edge(memory, words, address, False, -1)
    for word in range(words):
        left = last_parts if word == words - 1 else parts
        while left:
            edge += 1
            part = _offered(memory, edge)
            left -= part
            _end_edge(memory, 0, 0, part and left == 0, -1)
    return edge


@njit(cache=True)
def write(memory: Memory, edge: int, address: int, step: int, writes: int) -> int:
    """The edge that takes the last of ``writes`` writes, ``step`` words apart, offered from behind ``edge`` on."""
    _until(memory, edge + 1)
    while writes:
        edge += 1
        taken = _writable(memory, edge)
        _end_edge(memory, 0, 0, False, address)
        if taken:
            writes -= 1
            address += step
    return edge


@njit(cache=True)
def step_gemm(gemm: GemmSteps, memory: Memory, start: int) -> tuple[int, int]:
    """Step a GEMM that starts on edge ``start``: the edge on which its last beat of sums is taken, and its issues."""
    _until(memory, start + 1)
    tile_count, results = gemm.column_tiles * gemm.tiles, gemm.column_tiles * gemm.vectors
    in_flight = np.full(gemm.queue_depth, _NEVER, np.int64)  # ring: edge from which each result is valid
    newest, oldest, credits = 0, 0, gemm.queue_depth
    loaded, shadow_beats, shadow_full, swaps, left, issues = 0, 0, False, 0, 0, 0
    asking, bursts, words_left, address = True, gemm.bursts, 0, gemm.address
    taken, spent, parts = 0, 0, 0  # parts: of a beat that are left of packed words
    edge = start
    while taken < results:
        edge += 1
        offered = parts == _PARTS or (words_left > 0 and _offered(memory, edge))
        active = left > 0
        final = active and swaps % gemm.tiles == 0  # the active tile is the last of its column tile
        issue = active and (credits > 0 or not final)
        swap = shadow_full and (not active or (issue and left == 1))
        beat = offered and loaded < tile_count and (not shadow_full or swap)
        valid = in_flight[oldest] <= edge

        taken_word = beat and parts < _PARTS
        _end_edge(memory, gemm.burst_words if asking else 0, address, taken_word, -1)
        if asking:
            asking, words_left = False, gemm.burst_words
        elif taken_word:
            words_left -= 1
            if words_left == 0 and bursts > 1:
                bursts -= 1
                asking = True
                address += gemm.jump
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
