"""Where the time of a run goes: stages marked in the code, timed only inside ``measured``."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import NamedTuple

import torch

__all__ = ["Lap", "measured", "now", "stage"]


class Lap(NamedTuple):
    """One passage of a stage; ``number``: of the block or step."""

    stage: str
    number: int
    seconds: float


_laps: ContextVar[list[Lap] | None] = ContextVar("laps", default=None)


@contextmanager
def measured() -> Iterator[list[Lap]]:
    """Collect the laps of every stage that ends inside; work on a GPU is waited for at each stage's ends."""
    laps: list[Lap] = []
    token = _laps.set(laps)
    try:
        yield laps
    finally:
        _laps.reset(token)


@contextmanager
def stage(name: str, number: int) -> Iterator[None]:
    """Mark a piece of work; costs nothing outside ``measured``."""
    laps = _laps.get()
    if laps is None:
        yield
        return
    start = now()
    yield
    laps.append(Lap(name, number, now() - start))


def now() -> float:
    """``time.perf_counter``, once a GPU has done what it was given."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
