"""One DRAM channel as a slow, obvious list of commands: each new one looks at all before it."""

from typing import NamedTuple

__all__ = ["naive_bursts"]


class _Command(NamedTuple):
    what: str  # "activate" or "column"
    clock: int
    bank: int
    group: int
    write: bool = False


def naive_bursts(bursts, reads, writes, t) -> tuple[list[int], int, int]:
    """Clock of each burst's column command, activates and refreshes.

    ``bursts``: (group, bank, row, write) each; ``reads``, ``writes``: that the controller sees at once; ``t``: times by
    JEDEC's names.
    """
    issued = [None] * len(bursts)
    commands: list[_Command] = []
    rows: dict[int, int] = {}  # open row of a bank
    ready: dict[int, int] = {}  # of a bank after a refresh
    unseen = list(range(len(bursts)))
    seen = {False: [], True: []}
    draining, now, refreshes = 0, 0, 0
    postponed = False  # nothing went since the last refresh
    next_refresh = t.tREFI or None

    def columns(test):
        return [one.clock for one in commands if one.what == "column" and test(one)]

    def closes(bank):
        """When the open row of a bank may be precharged."""
        opened = [at for at, one in enumerate(commands) if one.what == "activate" and one.bank == bank][-1]
        clocks = [commands[opened].clock + t.tRAS]
        for one in commands[opened:]:
            if one.what == "column" and one.bank == bank:
                clocks.append(one.clock + (t.CWL + t.burst + t.tWR if one.write else t.tRTP))
        return max(clocks)

    def activate(bank, group):
        clocks = [now, ready.get(bank, 0)]
        if bank in rows:
            clocks.append(closes(bank) + t.tRP)
        before = [one for one in commands if one.what == "activate"]
        if before:
            clocks.append(before[-1].clock + t.tRRD_S)
        clocks += [one.clock + t.tRRD_L for one in before if one.group == group][-1:]
        if len(before) >= 4:
            clocks.append(before[-4].clock + t.tFAW)
        return max(clocks)

    def column(bank, group, write):
        opened = [one.clock for one in commands if one.what == "activate" and one.bank == bank][-1]
        clocks = [now, opened + t.tRCD]
        clocks += [clock + t.tCCD_S for clock in columns(lambda one: True)]
        clocks += [clock + t.tCCD_L for clock in columns(lambda one: one.group == group)]
        last = [one for one in commands if one.what == "column"][-1:]
        if last and last[0].write and not write:
            clocks.append(last[0].clock + t.CWL + t.burst + (t.tWTR_L if last[0].group == group else t.tWTR_S))
        if last and write and not last[0].write:
            clocks.append(last[0].clock + t.CL + t.burst + 2 - t.CWL)
        return max(clocks)

    while None in issued:
        while unseen:
            write = bool(bursts[unseen[0]][3])
            if len(seen[write]) == (writes if write else reads):
                break
            seen[write].append(unseen.pop(0))
        if not draining and (not seen[False] or len(seen[True]) == writes):
            draining = len(seen[True])
        choices, met = [], set()
        for number in seen[draining > 0]:
            group, bank, row, write = bursts[number]
            if rows.get(bank) != row and bank not in met:
                commands.append(_Command("activate", activate(bank, group), bank, group))
                rows[bank] = row
            met.add(bank)
            if rows.get(bank) == row:
                choices.append((column(bank, group, bool(write)), number))
        clock, number = min(choices)
        if next_refresh is not None and clock >= next_refresh and not postponed:
            postponed = True
            closed = max([now, next_refresh, *(closes(bank) for bank in rows)]) + t.tRP
            for bank in {one[1] for one in bursts}:
                ready[bank] = closed + t.tRFC
            rows.clear()
            now, next_refresh, refreshes = closed, next_refresh + t.tREFI, refreshes + 1
            continue
        postponed = False
        group, bank, _, write = bursts[number]
        issued[number] = now = clock
        commands.append(_Command("column", clock, bank, group, bool(write)))
        seen[bool(write)].remove(number)
        draining -= draining > 0
    return issued, sum(one.what == "activate" for one in commands), refreshes
