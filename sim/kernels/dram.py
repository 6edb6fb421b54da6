"""Numba kernel of one DRAM channel: bursts served first-ready within a look-ahead, under bank and group timing."""

import numpy as np
from numba import njit

__all__ = ["serve_bursts"]

_NEVER = -(1 << 40)  # a clock before everything


@njit(cache=True)
def serve_bursts(
    groups: np.ndarray,
    banks: np.ndarray,
    rows: np.ndarray,
    writes: np.ndarray,
    lookahead: int,
    write_buffer: int,
    burst: int,
    cas_short: int,
    cas_long: int,
    activate_to_cas: int,
    precharge: int,
    row_active: int,
    activate_short: int,
    activate_long: int,
    four_activates: int,
    read_to_precharge: int,
    read_latency: int,
    write_latency: int,
    write_recovery: int,
    write_to_read_short: int,
    write_to_read_long: int,
    refresh: int,
    refresh_interval: int,
) -> tuple[np.ndarray, int, int]:
    """Clock of each burst's column command (int64, in the order of the stream), activates and refreshes.

    ``groups``, ``banks`` (numbered over all groups), ``rows``, ``writes`` (0 or 1): int64, one entry per burst, all
    waiting from clock 0. Bursts become visible in order, as long as fewer than ``lookahead`` reads and ``write_buffer``
    writes wait. Reads go before writes until the write buffer is full or no read is visible; then the buffered writes
    drain. Of the visible bursts of the direction, the one whose column command can go first goes next, the oldest of
    equals; a bank opens the row of its oldest such burst as soon as timing allows. Times in clocks;
    ``refresh_interval`` 0: never refreshed.
    """
    count = groups.size
    issued = np.full(count, _NEVER, np.int64)
    total_banks, total_groups = banks.max() + 1, groups.max() + 1
    open_row = np.full(total_banks, -1, np.int64)
    cas_from = np.zeros(total_banks, np.int64)
    precharge_from = np.zeros(total_banks, np.int64)
    activate_from = np.zeros(total_banks, np.int64)
    seen = np.zeros(total_banks, np.int64)  # number of the last scan that met the bank
    last_cas_of = np.full(total_groups, _NEVER, np.int64)
    last_activate_of = np.full(total_groups, _NEVER, np.int64)
    recent_activates = np.full(4, _NEVER, np.int64)
    limits = (lookahead, write_buffer)
    windows = np.zeros((2, max(lookahead, write_buffer)), np.int64)  # visible reads, visible writes
    visible = np.zeros(2, np.int64)
    following, draining = 0, 0
    last_cas, last_activate, last_group, last_write = _NEVER, _NEVER, 0, 0
    now, served, scan, activates, refreshes = 0, 0, 0, 0, 0
    next_refresh = refresh_interval if refresh_interval > 0 else 1 << 60
    while served < count:
        while following < count and visible[writes[following]] < limits[writes[following]]:
            windows[writes[following], visible[writes[following]]] = following
            visible[writes[following]] += 1
            following += 1
        if draining == 0 and (visible[0] == 0 or visible[1] == write_buffer):
            draining = visible[1]
        direction = 1 if draining > 0 else 0
        scan += 1
        best, best_at = -1, 1 << 60
        for place in range(visible[direction]):
            item = windows[direction, place]
            bank, group = banks[item], groups[item]
            if open_row[bank] != rows[item] and seen[bank] != scan:
                at = max(now, activate_from[bank])
                if open_row[bank] >= 0:
                    at = max(at, precharge_from[bank] + precharge)
                at = max(at, last_activate + activate_short, last_activate_of[group] + activate_long)
                at = max(at, recent_activates[activates % 4] + four_activates)
                recent_activates[activates % 4] = at
                last_activate, last_activate_of[group] = at, at
                activates += 1
                open_row[bank] = rows[item]
                cas_from[bank], precharge_from[bank] = at + activate_to_cas, at + row_active
            seen[bank] = scan
            if open_row[bank] != rows[item]:
                continue
            at = max(now, cas_from[bank], last_cas + cas_short, last_cas_of[group] + cas_long)
            if last_cas != _NEVER and writes[item] != last_write:
                if last_write:
                    wait = write_to_read_long if group == last_group else write_to_read_short
                    at = max(at, last_cas + write_latency + burst + wait)
                else:
                    at = max(at, last_cas + read_latency + burst + 2 - write_latency)
            if at < best_at:
                best, best_at = place, at
        if best_at >= next_refresh:
            at = max(now, next_refresh)
            for bank in range(total_banks):
                if open_row[bank] >= 0:
                    at = max(at, precharge_from[bank])
            at += precharge
            for bank in range(total_banks):
                open_row[bank] = -1
                activate_from[bank] = at + refresh
            refreshes += 1
            now = at
            next_refresh += refresh_interval
            continue
        item = windows[direction, best]
        bank, group = banks[item], groups[item]
        issued[item] = best_at
        now, last_cas, last_group, last_write = best_at, best_at, group, writes[item]
        last_cas_of[group] = best_at
        freed = best_at + (write_latency + burst + write_recovery if last_write else read_to_precharge)
        precharge_from[bank] = max(precharge_from[bank], freed)
        visible[direction] -= 1
        draining -= direction
        for place in range(best, visible[direction]):
            windows[direction, place] = windows[direction, place + 1]
        served += 1
    return issued, activates, refreshes
