"""A limit for a redraw: a run that would end beyond it is not begun, and what was simulated so far is drawn.

How long a run will take is told from the runs before it: as many times as long as its array has fewer lanes, and so
more tiles. Runs are remembered, so that the next request for the same state goes on from there. A state's first run
is always made, so that each request gets further than the one before.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sim.result import SimResult

__all__ = ["Overtime", "Runs", "counted_runs", "limited", "run"]

_is_over: ContextVar[Callable[[float], bool]] = ContextVar("is_over", default=lambda expected_s: False)
_runs: ContextVar["Runs | None"] = ContextVar("runs", default=None)


class Overtime(Exception):
    """A run that was not begun."""


class Runs:
    """Runs of one state in the order in which they were asked for, recalled ones among them."""

    def __init__(self) -> None:
        self.finished: list[SimResult] = []
        self.made = 0
        self.lane_seconds = 0.0  # of a run, times the lanes of its array: the most so far


@contextmanager
def limited(is_over: Callable[[float], bool]) -> Iterator[None]:
    """Begin no run within that is expected to take so many seconds that ``is_over``, but for each state's first."""
    token = _is_over.set(is_over)
    try:
        yield
    finally:
        _is_over.reset(token)


@contextmanager
def counted_runs() -> Iterator[Runs]:
    """The runs made within, which belong to one state."""
    token = _runs.set(runs := Runs())
    try:
        yield runs
    finally:
        _runs.reset(token)


def run(recalled: SimResult | None, lanes: int, simulate: Callable[[], SimResult]) -> SimResult:
    """A run that is ``recalled`` or simulated now, on an array of ``lanes``.

    Raises:
        Overtime: it would end beyond the limit, and is not the first one.
    """
    runs = _runs.get()
    if recalled is None:
        expected_s = runs.lane_seconds / lanes if runs else 0.0
        if (runs is None or runs.made) and _is_over.get()(expected_s):
            raise Overtime
        start = time.perf_counter()
        recalled = simulate()
        if runs is not None:
            runs.made += 1
            runs.lane_seconds = max(runs.lane_seconds, lanes * (time.perf_counter() - start))
    if runs is not None:
        runs.finished.append(recalled)
    return recalled
