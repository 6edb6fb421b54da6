"""The crossing between the machine's clock and the memory's, edge by edge: ``hw.memory.crossing`` is the truth.

Edge e of the machine is edge ``ratio`` e of the memory. What is registered on an edge is seen on the edges behind it.
"""

import numpy as np
from numba import njit

from hw.memory.geometry import CLOSED_EDGES, CROSSING_WORDS
from sim.token import sdram
from sim.token.sdram import Controller

__all__ = ["accepts", "first_edge", "new_crossing", "next_edge", "offered", "takes"]

_THERE = 2  # edges of the memory's clock from one that takes something in to the first that sees it
# a request that is handed over (0: none) and its address, a write (-1: none); the memory's edges from which they are
# offered; those that carried the last of them out; words in slots, the first one, a slot that was emptied and from
# which edge of the memory on that is known; behind them the words' edges from which the port may look for them
_ASKED, _AT, _ASKED_FROM, _ASKED_DONE, _WRITE, _WRITE_FROM, _WRITE_DONE, _WORDS, _HEAD, _EMPTIED, _FREE, _FROM = range(
    12
)


def first_edge(ratio: int) -> int:
    """Of the memory's clock: the first one that the controller works on behind a reset."""
    return ratio * (CLOSED_EDGES - 1) + _THERE


def new_crossing() -> np.ndarray:
    """Behind reset, in front of edge 0; int64."""
    crossing = np.zeros(_FROM + CROSSING_WORDS, np.int64)
    crossing[_WRITE] = crossing[_ASKED_DONE] = crossing[_WRITE_DONE] = -1
    return crossing


@njit(cache=True)
def offered(ratio: int, crossing: np.ndarray, edge: int) -> bool:
    """Whether a word is valid on that edge of the port."""
    return crossing[_WORDS] > 0 and crossing[_FROM + crossing[_HEAD]] < ratio * (edge - 1)


@njit(cache=True)
def accepts(ratio: int, crossing: np.ndarray, edge: int) -> bool:
    """Whether a request is taken on that edge of the port."""
    return edge >= CLOSED_EDGES and crossing[_ASKED] == 0 and crossing[_ASKED_DONE] < ratio * (edge - 1)


@njit(cache=True)
def takes(ratio: int, crossing: np.ndarray, edge: int) -> bool:
    """Whether a write is taken on that edge of the port."""
    return edge >= CLOSED_EDGES and crossing[_WRITE] < 0 and crossing[_WRITE_DONE] < ratio * (edge - 1)


@njit(cache=True)
def next_edge(
    ratio: int,
    crossing: np.ndarray,
    controller: Controller,
    state: np.ndarray,
    banks: np.ndarray,
    edge: int,
    asked: int,
    address: int,
    taken: bool,
    write_address: int,
) -> None:
    """Carry an edge of the port out, and the memory's from it on to the next one; as ``sdram.next_edge``."""
    now = ratio * edge
    if write_address >= 0 and takes(ratio, crossing, edge):
        crossing[_WRITE], crossing[_WRITE_FROM] = write_address, now + _THERE
    if asked:  # none is under way: all words of the one before have come
        crossing[_ASKED], crossing[_AT] = asked, address
        crossing[_ASKED_FROM] = max(now, ratio * CLOSED_EDGES) + _THERE
    if crossing[_EMPTIED] and now >= crossing[_FREE]:
        crossing[_EMPTIED] = 0
    if taken:
        crossing[_WORDS] -= 1
        crossing[_HEAD] = (crossing[_HEAD] + 1) % CROSSING_WORDS
        crossing[_EMPTIED], crossing[_FREE] = 1, now + _THERE
    for at in range(max(now, ratio * (CLOSED_EDGES - 1) + _THERE), now + ratio):
        _memory_edge(crossing, controller, state, banks, at)


@njit(cache=True)
def _memory_edge(crossing: np.ndarray, controller: Controller, state: np.ndarray, banks: np.ndarray, at: int) -> None:
    """One edge of the controller's clock."""
    if crossing[_EMPTIED] and at >= crossing[_FREE]:
        crossing[_EMPTIED] = 0
    asked, write_address = 0, -1
    if crossing[_WRITE] >= 0 and at >= crossing[_WRITE_FROM]:
        write_address = crossing[_WRITE]
    elif crossing[_ASKED] and at >= crossing[_ASKED_FROM] and sdram.requestable(state):
        asked = crossing[_ASKED]
        crossing[_ASKED], crossing[_ASKED_DONE] = 0, at
    stored = write_address >= 0 and sdram.takes(controller, state, at)
    moved = sdram.offered(controller, state, at) and crossing[_WORDS] + crossing[_EMPTIED] < CROSSING_WORDS
    if moved:
        crossing[_FROM + (crossing[_HEAD] + crossing[_WORDS]) % CROSSING_WORDS] = at
        crossing[_WORDS] += 1
    sdram.next_edge(controller, state, banks, at, asked, crossing[_AT], moved, write_address)
    if stored:
        crossing[_WRITE], crossing[_WRITE_DONE] = -1, at
