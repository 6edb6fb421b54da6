"""The clock of a placed machine by nextpnr's report, where the memory has a clock of its own too."""

from collections.abc import Mapping
from typing import Any

__all__ = ["reached_hz"]

_NEAR = 0.99  # of a constraint, which the report rounds
_EDGE = "posedge "


def reached_hz(report: Mapping[str, Any], clock_hz: float, ratio: int = 1) -> float:
    """The fastest clock of a machine that every path of a report allows.

    ``ratio``: of the memory's clock to the machine's, ``clock_hz``. The memory's paths count ``ratio`` times. A path
    from one of the two clocks to the other, of which nextpnr tells the longest and asks nothing, must be as short as a
    period of the memory's.
    """
    clocks = report["fmax"]
    if ratio == 1:
        return 1e6 * min(clock["achieved"] for clock in clocks.values())
    own = {name for name, clock in clocks.items() if 1e6 * clock["constraint"] >= _NEAR * clock_hz}
    fast = {name for name in own if 1e6 * clocks[name]["constraint"] >= _NEAR * ratio * clock_hz}
    found = [1e6 * clock["achieved"] / (ratio if name in fast else 1) for name, clock in clocks.items()]
    for path in report["critical_paths"]:
        begin, end = (path[side].removeprefix(_EDGE) for side in ("from", "to"))
        if {begin, end} <= own and (begin in fast) != (end in fast):
            nanoseconds = sum(part["delay"] for part in path["path"])
            found.append(1e9 / nanoseconds / ratio)
    return min(found)
