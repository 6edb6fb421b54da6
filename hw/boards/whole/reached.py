"""The clock of a placed machine by nextpnr's report, where its memory has clocks of its own too."""

from collections.abc import Mapping
from typing import Any

__all__ = ["reached_hz"]

_NEAR = 0.01  # of a constraint, which the report rounds
_EDGE = "posedge "


def reached_hz(report: Mapping[str, Any], clock_hz: float, ratio: int = 1) -> float:
    """The fastest clock of a machine that every path of a report allows.

    A clock that is asked to be twice the machine's, ``clock_hz``, allows half of what it reaches, one that is asked to
    be half of it twice that; one of which nothing is asked is the machine's. ``ratio``: of the memory's clock to the
    machine's; where nothing is asked of the memory's, it may be any of them, and each must be as fast. A path from one
    of these two to the other, of which nextpnr tells the longest and asks nothing, must be as short as a period of the
    memory's.
    """
    clocks = report["fmax"]
    asked = {name: 1e6 * clock.get("constraint", clock_hz / 1e6) for name, clock in clocks.items()}
    times = {name: _times(asked[name] / clock_hz, ratio) for name in clocks}
    if ratio not in times.values():
        times = dict.fromkeys(clocks, ratio)
    found = [1e6 * clock["achieved"] / times[name] for name, clock in clocks.items()]
    own = {name for name in clocks if times[name] in (1, ratio)}
    for path in report["critical_paths"] if ratio > 1 else ():
        begin, end = (path[side].removeprefix(_EDGE) for side in ("from", "to"))
        if {begin, end} <= own and times[begin] != times[end]:
            nanoseconds = sum(part["delay"] for part in path["path"])
            found.append(1e9 / nanoseconds / ratio)
    return min(found)


def _times(asked: float, ratio: int) -> float:
    """How often a clock ticks to one of the machine; 1 and ``ratio`` exactly where they are meant."""
    return next((exact for exact in (1, ratio) if abs(asked / exact - 1) <= _NEAR), asked)
