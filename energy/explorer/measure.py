"""How long a redraw takes, control by control: ``tritforge explore --measure``.

A redraw is a request over HTTP, with simulation, figures and templates, and ends in time with what could be simulated
(``energy.explorer.limit``); requests for the rest follow. Each is a move of one control away from a
state that was drawn before: the defaults with up to three other controls moved at random. Processor time is that of
server and client meanwhile, what the redraw would take on a machine without other work.
"""

import os
import random
import statistics
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from email.message import Message
from typing import NamedTuple

from energy.explorer.controls import controls
from energy.explorer.server import Explorer
from energy.explorer.state import State, address
from hw.document import Record
from hw.process.threads import usable_cpus

__all__ = ["Latency", "Redraws", "measure"]

_BESIDE = 3  # controls that are moved before, at most
_TIMEOUT = 120  # seconds


class _Redraw(NamedTuple):
    """One redraw, in milliseconds; ``whole``: until the last rival is drawn."""

    wall: float
    cpu: float
    whole: float
    size: int  # bytes


class Redraws(Record):
    """Redraws after a move of one control; ``whole``: until the last rival and the why of the savings stand there."""

    control: str
    redraws: int
    median_ms: float
    p95_ms: float
    cpu_median_ms: float
    cpu_p95_ms: float
    whole_median_ms: float
    whole_p95_ms: float
    kib: float  # of an answer, median


class Latency(Record):
    """A measurement, with what it depends on."""

    seed: int
    processors: int
    load: float  # processes that wanted a processor meanwhile, these two among them
    rows: list[Redraws]  # all controls together last


def measure(redraws: int, seed: int = 7, tick: Callable[[int, int], None] = lambda done, total: None) -> Latency:
    """Draw ``redraws`` moves of every control by a server of its own."""
    rows, everything, total = [], [], redraws * len(controls())
    with Explorer("127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        server.warm()
        for name in controls():
            found: list[_Redraw] = []
            for before, after in _moves(name, random.Random(f"{seed} {name}")):
                if _redraw(server.url, before) and (one := _redraw(server.url, after)):
                    found.append(one)
                    tick(len(everything) + len(found), total)
                if len(found) == redraws:
                    break
            rows.append(_summary(controls()[name].label, found))
            everything += found
        server.shutdown()
    load = round(os.getloadavg()[0], 1)
    return Latency(seed=seed, processors=usable_cpus(), load=load, rows=[*rows, _summary("all", everything)])


def _moves(name: str, rng: random.Random) -> Iterator[tuple[State, State]]:
    """States before and after a move of the control ``name``."""
    while True:
        before = State.default()
        for other in rng.sample([one for one in controls() if one != name], rng.randint(0, _BESIDE)):
            before = before._replace(**{other: rng.choice(controls()[other].stops)})  # type: ignore[arg-type]
        stops = controls()[name].stops
        before = before._replace(**{name: rng.choice(stops)})  # type: ignore[arg-type]
        after = before._replace(**{name: rng.choice(stops)})  # type: ignore[arg-type]
        if after != before:
            yield before, after


def _redraw(url: str, state: State) -> _Redraw | None:
    """One redraw and what completes it; None where the state cannot be."""
    start, cpu = time.perf_counter(), time.process_time()
    body, headers = _asked(f"{url}redraw?{address(state)}")
    wall, cpu = time.perf_counter() - start, time.process_time() - cpu
    if headers.get("X-Refused"):
        return None
    while headers.get("X-Partial"):
        _, headers = _asked(f"{url}result?{address(state)}")
    return _Redraw(1e3 * wall, 1e3 * cpu, 1e3 * (time.perf_counter() - start), len(body))


def _asked(url: str) -> tuple[bytes, Message]:
    with urllib.request.urlopen(url, timeout=_TIMEOUT) as reply:
        return reply.read(), reply.headers


def _summary(control: str, found: list[_Redraw]) -> Redraws:
    walls, cpus, wholes, sizes = zip(*found, strict=True)
    figures: dict[str, float] = {"kib": statistics.median(sizes) / 1024}
    for name, values in (("", walls), ("cpu_", cpus), ("whole_", wholes)):
        figures[f"{name}median_ms"] = statistics.median(values)
        figures[f"{name}p95_ms"] = _percentile_95(values)
    return Redraws(control=control, redraws=len(found), **{name: round(value, 1) for name, value in figures.items()})


def _percentile_95(values: tuple[float, ...]) -> float:
    return statistics.quantiles(values, n=20, method="inclusive")[-1] if len(values) > 1 else values[0]
