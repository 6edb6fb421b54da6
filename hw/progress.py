"""Progress on standard error: on a terminal a bar per stage with count and remaining time, else a line now and then."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

__all__ = ["CountReport", "StageReport", "spinner", "stage_bars"]

StageReport = Callable[[str, int, int], None]  # stage, done, total; a total of 0 is said at once, whatever the time
CountReport = Callable[[int, int], None]  # done, total, of one stage

_EVERY_S = 5.0  # between two lines where no terminal shows bars
_FIRST_S = 15.0  # before the first, so that what is refused soon is refused in one line on a busy machine too
_WHOLE_S = 60.0  # before the first of a stage of one step, such as loading, which is where files are refused


@contextmanager
def stage_bars() -> Iterator[StageReport]:
    """Yield a function that long work calls; its bars disappear at the end, its lines (no terminal) stay."""
    if not sys.stderr.isatty():
        yield _Lines(sys.stderr, time.monotonic)
        return
    # Imported here, since a command that is done at once shows nothing.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    bars = Progress(*columns, console=Console(stderr=True), transient=True)
    tasks: dict[str, TaskID] = {}

    def report(stage: str, done: int, total: int) -> None:
        if stage not in tasks:
            bars.start()
            tasks[stage] = bars.add_task(stage, total=total or None)
        bars.update(tasks[stage], completed=done, total=total or None)

    try:
        yield report
    finally:
        if tasks:
            bars.stop()


class _Lines:
    """A line when a stage has begun, at most one every ``_EVERY_S`` after it, and none of stages that end before that.

    The first line comes after ``_FIRST_S`` of the whole, of stages of one step after ``_WHOLE_S``, so that quick work
    says nothing and a file that is refused while it is read is refused in one line.
    """

    def __init__(self, file: TextIO, clock: Callable[[], float]) -> None:
        self._file, self._clock = file, clock
        self._began: dict[str, tuple[float, int]] = {}  # stage -> when, and what was done then
        self._start = clock()
        self._told = self._start + _FIRST_S - _EVERY_S

    def __call__(self, stage: str, done: int, total: int) -> None:
        if total == 0:
            print(stage, file=self._file, flush=True)
            return
        now = self._clock()
        start, before = self._began.setdefault(stage, (now, done))
        if now - self._told < _EVERY_S or (total == 1 and now - self._start < _WHOLE_S):
            return
        self._told = now
        left = ""
        if done > before and done < total:
            left = f", about {_duration((now - start) * (total - done) / (done - before))} left"
        print(f"{stage}: {done} of {total}, {_duration(now - start)}{left}", file=self._file, flush=True)


def _duration(seconds: float) -> str:
    whole = round(seconds)
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"


@contextmanager
def spinner(subject: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that says what is being done to ``subject``; for work whose length nobody knows."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(subject, total=None)
        yield lambda stage: progress.update(task, description=f"{subject}: {stage}")
