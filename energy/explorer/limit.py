"""A limit for a redraw: once it is over no run is begun, and what was simulated so far is drawn.

Runs are remembered, so that the next request for the same state goes on from there. A state's first run is always
made, which makes each request end somewhat later than its limit, and further than the one before.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from sim.result import SimResult

__all__ = ["Overtime", "Runs", "counted_runs", "limited", "run"]

_is_over: ContextVar[Callable[[], bool]] = ContextVar("is_over", default=lambda: False)
_runs: ContextVar["Runs | None"] = ContextVar("runs", default=None)


class Overtime(Exception):
    """A run that was not begun."""


class Runs:
    """Runs of one state in the order in which they were asked for, recalled ones among them."""

    def __init__(self) -> None:
        self.finished: list[SimResult] = []
        self.made = 0


@contextmanager
def limited(is_over: Callable[[], bool]) -> Iterator[None]:
    """Begin no run within once ``is_over()``, but for the first of each state."""
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


def run(recalled: SimResult | None, simulate: Callable[[], SimResult]) -> SimResult:
    """A run that is ``recalled`` or simulated now.

    Raises:
        Overtime: the limit is over, and it is not the first one.
    """
    runs = _runs.get()
    if recalled is None:
        if (runs is None or runs.made) and _is_over.get()():
            raise Overtime
        recalled = simulate()
        if runs is not None:
            runs.made += 1
    if runs is not None:
        runs.finished.append(recalled)
    return recalled
