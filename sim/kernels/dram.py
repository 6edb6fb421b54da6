"""Numba kernel of one DRAM channel: bursts served first-ready within a look-ahead, under bank and group timing.

Names of times are JEDEC's (JESD79-4 for DDR4). From read to write it counts CL + burst + 2 - CWL, as Ramulator2 does.
"""

from typing import NamedTuple

import numpy as np
from numba import njit

from sim.kernels.bursts import DramTiming, Queues

__all__ = ["Served", "serve_bursts"]

_NEVER = -(1 << 40)  # a clock before everything
_FOREVER = 1 << 60  # a clock behind everything
_CLOSED = -1  # row of a bank that is precharged
_FOUR = 4  # activates that one tFAW covers
_BUS_TURNAROUND = 2  # clocks between a read's data and a write's: a postamble and a preamble

_BANK = np.dtype(
    [
        ("open_row", np.int64),
        ("column_from", np.int64),  # earliest clock of a column command
        ("activate_from", np.int64),
        ("precharge_from", np.int64),
        ("seen", np.int64),  # number of the last scan that met the bank
    ]
)
_GROUP = np.dtype([("last_column", np.int64), ("last_activate", np.int64)])  # clocks of a bank group's commands


class Served(NamedTuple):
    """What became of a stream."""

    issued: np.ndarray  # int64, clock of each burst's column command, in the order of the stream
    activates: int
    refreshes: int


class _Column(NamedTuple):
    """A column command."""

    clock: int
    group: int
    write: int


@njit(cache=True)
def serve_bursts(bursts: np.ndarray, queues: Queues, timing: DramTiming) -> Served:
    """Serve a stream to its end: ``bursts`` of dtype ``BURST``, all waiting from clock 0.

    Bursts become visible in order, as long as their direction's queue has room. Reads go before writes until the write
    queue is full or no read is visible; then the queued writes drain. Of the visible bursts of the direction, the one
    whose column command can go first goes next, the oldest of equals; a bank opens the row of its oldest such burst as
    soon as timing allows. A refresh that is due waits for one burst since the last one, as controllers may postpone it
    (JESD79-4, section 4.26): where times are so short that rows open no sooner than they are closed again, the stream
    still ends.
    """
    issued = np.full(bursts.size, _NEVER, np.int64)
    banks, groups = _idle(bursts)
    recent_activates = np.full(_FOUR, _NEVER, np.int64)  # ring
    windows = np.zeros((2, max(queues.reads, queues.writes)), np.int64)  # visible reads, visible writes
    visible = np.zeros(2, np.int64)
    last = _Column(np.int64(_NEVER), np.int64(0), np.int64(0))
    following, draining, now, scan, activates, refreshes = 0, 0, 0, 0, 0, 0
    next_refresh = timing.tREFI if timing.tREFI > 0 else _FOREVER
    served, served_before = 0, -1  # by now, and by the last refresh
    while served < bursts.size:
        following = _admit(bursts, queues, windows, visible, following)
        if draining == 0 and (visible[0] == 0 or visible[1] == queues.writes):
            draining = visible[1]
        direction = 1 if draining > 0 else 0
        scan += 1
        best, best_clock = -1, _FOREVER
        for place in range(visible[direction]):
            burst = bursts[windows[direction, place]]
            bank, group = banks[burst["bank"]], groups[burst["group"]]
            if bank["open_row"] != burst["row"] and bank["seen"] != scan:
                clock = _activate_clock(timing, bank, group, recent_activates, activates, now)
                _open(timing, bank, burst["row"], clock)
                group["last_activate"] = recent_activates[activates % _FOUR] = clock
                activates += 1
            bank["seen"] = scan
            if bank["open_row"] == burst["row"]:
                clock = _column_clock(timing, bank, group, burst, last, now)
                if clock < best_clock:
                    best, best_clock = place, clock
        if best_clock >= next_refresh and served > served_before:
            served_before = served
            now = _refresh(timing, banks, max(now, next_refresh))
            next_refresh += timing.tREFI
            refreshes += 1
            continue
        item = windows[direction, best]
        burst = bursts[item]
        now = issued[item] = best_clock
        last = _Column(best_clock, burst["group"], burst["write"])
        groups[burst["group"]]["last_column"] = now
        _hold_open(timing, banks[burst["bank"]], last)
        _leave(windows, visible, direction, best)
        draining -= direction
        served += 1
    return Served(issued, activates, refreshes)


@njit(cache=True)
def _idle(bursts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The banks and bank groups of a stream, nothing open."""
    banks, groups = np.zeros(bursts["bank"].max() + 1, _BANK), np.zeros(bursts["group"].max() + 1, _GROUP)
    banks["open_row"][:] = _CLOSED
    groups["last_column"][:] = _NEVER
    groups["last_activate"][:] = _NEVER
    return banks, groups


@njit(cache=True)
def _admit(bursts: np.ndarray, queues: Queues, windows: np.ndarray, visible: np.ndarray, following: int) -> int:
    """Make bursts visible from number ``following`` on; the number of the first that has no room."""
    while following < bursts.size:
        direction = bursts[following]["write"]
        if visible[direction] == (queues.writes if direction else queues.reads):
            break
        windows[direction, visible[direction]] = following
        visible[direction] += 1
        following += 1
    return following


@njit(cache=True)
def _leave(windows: np.ndarray, visible: np.ndarray, direction: int, place: int) -> None:
    """Take the burst at ``place`` out of its direction's window; the younger ones move up."""
    visible[direction] -= 1
    for later in range(place, visible[direction]):
        windows[direction, later] = windows[direction, later + 1]


@njit(cache=True)
def _activate_clock(
    timing: DramTiming, bank: np.void, group: np.void, recent: np.ndarray, activates: int, now: int
) -> int:
    """Earliest activate of a bank, which may have to close another row first."""
    clock = max(now, bank["activate_from"])
    if bank["open_row"] != _CLOSED:
        clock = max(clock, bank["precharge_from"] + timing.tRP)
    last, fourth_last = recent[(activates - 1) % _FOUR], recent[activates % _FOUR]
    clock = max(clock, last + timing.tRRD_S, group["last_activate"] + timing.tRRD_L)
    return max(clock, fourth_last + timing.tFAW)


@njit(cache=True)
def _open(timing: DramTiming, bank: np.void, row: int, clock: int) -> None:
    """Activate a row."""
    bank["open_row"] = row
    bank["column_from"] = clock + timing.tRCD
    bank["precharge_from"] = clock + timing.tRAS


@njit(cache=True)
def _column_clock(timing: DramTiming, bank: np.void, group: np.void, burst: np.void, last: _Column, now: int) -> int:
    """Earliest column command to the open row of a bank."""
    clock = max(now, bank["column_from"], last.clock + timing.tCCD_S, group["last_column"] + timing.tCCD_L)
    if last.clock == _NEVER or burst["write"] == last.write:
        return clock
    if last.write:
        to_read = timing.tWTR_L if burst["group"] == last.group else timing.tWTR_S
        return max(clock, last.clock + timing.CWL + timing.burst + to_read)
    return max(clock, last.clock + timing.CL + timing.burst + _BUS_TURNAROUND - timing.CWL)


@njit(cache=True)
def _hold_open(timing: DramTiming, bank: np.void, column: _Column) -> None:
    """No precharge of the bank before the data of its column command are through."""
    through = timing.CWL + timing.burst + timing.tWR if column.write else timing.tRTP
    bank["precharge_from"] = max(bank["precharge_from"], column.clock + through)


@njit(cache=True)
def _refresh(timing: DramTiming, banks: np.ndarray, clock: int) -> int:
    """Close every bank from ``clock`` on and refresh: the clock of the refresh command."""
    for bank in banks:
        if bank["open_row"] != _CLOSED:
            clock = max(clock, bank["precharge_from"])
    clock += timing.tRP
    for bank in banks:
        bank["open_row"], bank["activate_from"] = _CLOSED, clock + timing.tRFC
    return clock
