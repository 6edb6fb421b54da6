"""Progress on standard error: one bar per stage with elapsed and remaining time, none while nothing is reported."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["CountReport", "StageReport", "spinner", "stage_bars"]

StageReport = Callable[[str, int, int], None]  # stage, done, total
CountReport = Callable[[int, int], None]  # done, total, of one stage


@contextmanager
def stage_bars() -> Iterator[StageReport]:
    """Yield a function that long work calls; its bars disappear at the end."""
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
            tasks[stage] = bars.add_task(stage, total=total)
        bars.update(tasks[stage], completed=done, total=total)

    try:
        yield report
    finally:
        if tasks:
            bars.stop()


@contextmanager
def spinner(subject: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that says what is being done to ``subject``; for work whose length nobody knows."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(subject, total=None)
        yield lambda stage: progress.update(task, description=f"{subject}: {stage}")
