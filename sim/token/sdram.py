"""The SDR SDRAM controller of ``hw.memory``, edge by edge: which command it sends, and when words come and go.

Only what decides on edges is kept: banks, rows, countdowns, the queue of words. ``hw.memory.controller`` is the truth.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from hw.memory.chip import SdramChip
from hw.memory.geometry import COMMAND_EDGES, DECISION_EDGES, IO_EDGES, QUEUED_WORDS, Geometry

__all__ = [
    "NO_CONTROLLER",
    "Controller",
    "at_pins",
    "controller_of",
    "new_banks",
    "new_state",
    "next_edge",
    "offered",
    "takes",
]


class Controller(NamedTuple):
    """Sizes and clocks; ``burst`` 0: there is none."""

    burst: int  # beats
    part_bits: int  # log2 of the bursts of a memory word
    column_bits: int  # log2 of the bursts of a row
    bank_bits: int
    row_bits: int
    read_edges: int  # from the edge that sends a read to its first data
    depth: int  # words of the queue
    cas: int
    rcd: int
    rp: int
    ras: int
    rrd: int
    wr: int
    rfc: int
    mrd: int
    refresh: int
    power_up: int
    init_refreshes: int


NO_CONTROLLER = Controller(*[0] * len(Controller._fields))

# of the state: the request, the write at work, the queue, the sequence, countdowns as edges from which they have
# passed; from which edges on the banks of the write, the read and the row ahead are known; what the next edge sends,
# of which bank and row, whether for the row ahead, and what the edge before sent; behind them, the edges from which
# queued words are valid
(
    _AT, _LEFT, _WAITING, _PART, _WRITE_AT, _WRITTEN, _CLAIMED, _HEAD, _QUEUED, _SEQUENCE, _AGAIN, _READY, _TICK, _DUE,
    _WAIT, _READ, _WRITE, _ACTIVATE, _WRITE_KNOWN, _READ_KNOWN, _AHEAD_KNOWN, _FOUND, _BANK, _BANK_ROW, _PREPARES,
    _PINS, _VALID,
) = range(27)  # fmt: skip
_OPEN, _ROW, _COLUMN, _PRECHARGE, _REOPEN = range(5)  # of a bank, the last three as edges
_POWER_UP, _REFRESH, _MODE, _RUN = range(4)
_NOTHING, _READS, _WRITES, _OPENS, _CLOSES, _CLOSES_ALL, _REFRESHES, _SETS_MODE = range(8)
_NEVER = 1 << 60
_KNOWN = 2  # edges from a change of a burst's bank or row to the one that may find a command for it


def controller_of(chip: SdramChip, clock_hz: float, word_bits: int) -> Controller:
    """The controller of a chip at a clock, for memory words of so many bits.

    Raises:
        InputError: a clock that the chip does not reach, or words that do not fit its rows.
    """
    timing, geometry = chip.timing(clock_hz), Geometry.of(chip, word_bits)
    clocks = {name: getattr(timing, name) for name in Controller._fields if name in timing._fields}
    sizes = {"part_bits": geometry.parts, "column_bits": geometry.row_bursts, "bank_bits": chip.banks}
    return Controller(
        burst=geometry.burst,
        **{name: size.bit_length() - 1 for name, size in (sizes | {"row_bits": chip.rows}).items()},
        read_edges=timing.cas + IO_EDGES + COMMAND_EDGES,
        depth=QUEUED_WORDS,
        init_refreshes=chip.init_refreshes,
        **clocks,
    )


def new_state(controller: Controller, first: int = 0) -> np.ndarray:
    """Behind reset, in front of edge ``first``; int64."""
    state = np.zeros(_VALID + max(1, controller.depth), np.int64)
    state[_WAIT], state[_AGAIN], state[_TICK] = first + controller.power_up - 1, controller.init_refreshes, _NEVER
    return state


def new_banks(controller: Controller) -> np.ndarray:
    """All banks closed; int64 (banks, 5)."""
    return np.zeros((1 << controller.bank_bits, 5), np.int64)


@njit(cache=True)
def offered(controller: Controller, state: np.ndarray, edge: int) -> bool:
    """Whether a word is valid on that edge."""
    return state[_QUEUED] > 0 and state[_VALID + state[_HEAD]] <= edge


@njit(cache=True)
def requestable(state: np.ndarray) -> bool:
    """Whether a request would be taken now."""
    return state[_LEFT] == 0


@njit(cache=True)
def at_pins(state: np.ndarray) -> int:
    """The command that the chip sees now: that of the edge before."""
    return state[_PINS]


@njit(cache=True)
def takes(controller: Controller, state: np.ndarray, edge: int) -> bool:
    """Whether a write is taken on that edge."""
    if controller.burst > 1:
        return state[_WAITING] == 0 and edge >= state[_WRITTEN] - 1
    return state[_WAITING] == 0 or (state[_WAITING] == 1 and _sent(state, edge) == _WRITES)


@njit(cache=True)
def _sent(state: np.ndarray, edge: int) -> int:
    """The command that is sent on that edge."""
    if state[_SEQUENCE] == _RUN:
        return state[_FOUND]
    if edge < state[_WAIT]:
        return _NOTHING
    if state[_SEQUENCE] == _POWER_UP:
        return _CLOSES_ALL
    return _REFRESHES if state[_SEQUENCE] == _REFRESH else _SETS_MODE


@njit(cache=True)
def _found(controller: Controller, state: np.ndarray, banks: np.ndarray, edge: int) -> tuple[int, int, int, bool]:
    """What the edge behind that one sends: command, bank, row, and whether it prepares the row ahead.

    What is found beside a command is dropped, but for reads beside the row ahead, and that beside reads.
    """
    command = _sent(state, edge)
    if state[_SEQUENCE] != _RUN or edge < state[_WAIT]:
        return _NOTHING, 0, 0, False
    if state[_DUE]:
        for bank in banks:
            if edge + DECISION_EDGES < bank[_PRECHARGE]:
                return _NOTHING, 0, 0, False
        return (_CLOSES_ALL if command == _NOTHING else _NOTHING), 0, 0, False
    if command == _NOTHING or state[_PREPARES]:
        found, number, row = _of_burst(controller, state, banks, edge)
        if found == _READS or (found != _NOTHING and command == _NOTHING):
            return found, number, row, False
    if command == _NOTHING or (command == _READS and not _ends_row(controller, state)):
        found, number, row = _of_row_ahead(controller, state, banks, edge)
        return found, number, row, found != _NOTHING
    return _NOTHING, 0, 0, False


@njit(cache=True)
def _ends_row(controller: Controller, state: np.ndarray) -> bool:
    """Whether the next read is the last one of its row."""
    return (state[_AT] + 1) & ((1 << controller.column_bits) - 1) == 0


@njit(cache=True)
def _of_burst(controller: Controller, state: np.ndarray, banks: np.ndarray, edge: int) -> tuple[int, int, int]:
    """What may be sent for the write, or for the next read where there is none: command, bank, row."""
    at, columns, sends = state[_AT], controller.column_bits, edge + DECISION_EDGES
    writing = state[_WAITING] != 0
    first = at & ((1 << controller.part_bits) - 1) == 0
    wanted = writing or (state[_LEFT] != 0 and (state[_CLAIMED] != controller.depth or not first))
    if not wanted or edge < state[_WRITE_KNOWN if writing else _READ_KNOWN]:
        return _NOTHING, 0, 0
    burst = (state[_WRITE_AT] << controller.part_bits | state[_PART]) if writing else at
    number = (burst >> columns) & ((1 << controller.bank_bits) - 1)
    row = (burst >> columns + controller.bank_bits) & ((1 << controller.row_bits) - 1)
    bank = banks[number]
    if bank[_OPEN] and bank[_ROW] == row:
        if sends >= bank[_COLUMN] and sends >= state[_WRITE if writing else _READ]:
            return (_WRITES if writing else _READS), number, row
    elif bank[_OPEN]:
        if sends >= bank[_PRECHARGE]:
            return _CLOSES, number, row
    elif sends >= bank[_REOPEN] and sends >= state[_ACTIVATE]:
        return _OPENS, number, row
    return _NOTHING, 0, 0


@njit(cache=True)
def _of_row_ahead(controller: Controller, state: np.ndarray, banks: np.ndarray, edge: int) -> tuple[int, int, int]:
    """What may be sent for the row behind the next read's, where the request goes on there: command, bank, row."""
    at, columns, sends = state[_AT], controller.column_bits, edge + DECISION_EDGES
    goes_on = state[_LEFT] > (1 << columns) - (at & ((1 << columns) - 1))
    if state[_WAITING] != 0 or not goes_on or edge < state[_AHEAD_KNOWN]:
        return _NOTHING, 0, 0
    ahead = (at >> columns) + 1
    number = ahead & ((1 << controller.bank_bits) - 1)
    row = (ahead >> controller.bank_bits) & ((1 << controller.row_bits) - 1)
    bank = banks[number]
    if not bank[_OPEN]:
        if sends >= bank[_REOPEN] and sends >= state[_ACTIVATE]:
            return _OPENS, number, row
    elif bank[_ROW] != row and sends >= bank[_PRECHARGE]:
        return _CLOSES, number, row
    return _NOTHING, 0, 0


@njit(cache=True)
def next_edge(
    controller: Controller,
    state: np.ndarray,
    banks: np.ndarray,
    edge: int,
    asked: int,
    address: int,
    taken: bool,
    write_address: int,
) -> None:
    """Carry an edge out: a request of ``asked`` words (0: none), a word taken, a write (-1: none)."""
    command, number, row = _sent(state, edge), state[_BANK], state[_BANK_ROW]
    writable = takes(controller, state, edge)
    changes = command in (_OPENS, _CLOSES, _CLOSES_ALL)
    prepares = changes and state[_PREPARES] != 0
    state[_FOUND], state[_BANK], state[_BANK_ROW], state[_PREPARES] = _found(controller, state, banks, edge)
    state[_PINS] = command
    if changes:
        state[_WRITE_KNOWN] = max(state[_WRITE_KNOWN], edge + _KNOWN)
        if not prepares:
            state[_READ_KNOWN] = max(state[_READ_KNOWN], edge + _KNOWN)
        state[_AHEAD_KNOWN] = max(state[_AHEAD_KNOWN], edge + _KNOWN)
    burst = controller.burst
    if state[_DUE] and command == _REFRESHES:
        state[_DUE] = 0
    if edge == state[_TICK]:
        state[_DUE] = 1
        state[_TICK] += controller.refresh
    if command == _READS:
        _reads(controller, state, banks[number], edge)
    elif command == _WRITES:
        bank = banks[number]
        bank[_PRECHARGE] = max(bank[_PRECHARGE], edge + burst - 1 + controller.wr)
        state[_READ] = state[_WRITE] = edge + burst
        state[_WAITING] -= 1
        state[_PART] += 1
        state[_WRITTEN] = edge + burst
    elif command == _OPENS:
        bank = banks[number]
        bank[_OPEN], bank[_ROW] = 1, row
        bank[_COLUMN], bank[_PRECHARGE] = edge + controller.rcd, edge + controller.ras
        state[_ACTIVATE] = edge + controller.rrd
    elif command == _CLOSES:
        banks[number, _OPEN], banks[number, _REOPEN] = 0, edge + controller.rp
    elif command != _NOTHING:
        _housekeeping(controller, state, banks, edge, command)
    if taken:
        state[_CLAIMED] -= 1
        state[_QUEUED] -= 1
        state[_HEAD] = (state[_HEAD] + 1) % controller.depth
    if asked:
        state[_AT], state[_LEFT] = address << controller.part_bits, asked << controller.part_bits
        _moves(state, edge)
    if write_address >= 0 and writable:
        state[_WRITE_AT], state[_WAITING], state[_PART] = write_address, 1 << controller.part_bits, 0
        state[_WRITTEN] = edge + 1
        state[_WRITE_KNOWN] = edge + _KNOWN


@njit(cache=True)
def _moves(state: np.ndarray, edge: int) -> None:
    """The next read is of another row; the row ahead is counted an edge later."""
    state[_READ_KNOWN] = edge + _KNOWN
    state[_AHEAD_KNOWN] = edge + _KNOWN + 1


@njit(cache=True)
def _reads(controller: Controller, state: np.ndarray, bank: np.ndarray, edge: int) -> None:
    """A burst; the last one of a word puts it into the queue when its beats are there."""
    burst, parts = controller.burst, (1 << controller.part_bits) - 1
    bank[_PRECHARGE] = max(bank[_PRECHARGE], edge + burst)
    state[_READ], state[_WRITE] = edge + burst, edge + controller.cas + burst + 1
    if state[_AT] & parts == 0:
        state[_CLAIMED] += 1
    if state[_AT] & parts == parts:
        state[_VALID + (state[_HEAD] + state[_QUEUED]) % controller.depth] = edge + controller.read_edges + burst
        state[_QUEUED] += 1
    ends_row = _ends_row(controller, state)
    state[_AT] += 1
    state[_LEFT] -= 1
    if ends_row:
        known = state[_AHEAD_KNOWN] <= edge
        _moves(state, edge)
        if known:  # as the row ahead was
            state[_READ_KNOWN] = edge + 1


@njit(cache=True)
def _housekeeping(controller: Controller, state: np.ndarray, banks: np.ndarray, edge: int, command: int) -> None:
    """All banks closed, a refresh, the mode register."""
    if command == _CLOSES_ALL:
        for bank in banks:
            if bank[_OPEN]:
                bank[_OPEN], bank[_REOPEN] = 0, edge + controller.rp
        state[_WAIT], state[_SEQUENCE] = edge + controller.rp, _REFRESH
    elif command == _REFRESHES:
        state[_WAIT] = edge + controller.rfc
        if state[_READY]:
            state[_WAIT], state[_SEQUENCE] = edge + max(1, controller.rfc - DECISION_EDGES), _RUN
        else:
            state[_AGAIN] -= 1
            if state[_AGAIN] == 0:
                state[_SEQUENCE] = _MODE
    else:
        state[_READY], state[_TICK] = 1, edge + controller.refresh
        state[_WAIT], state[_SEQUENCE] = edge + max(1, controller.mrd - DECISION_EDGES), _RUN
