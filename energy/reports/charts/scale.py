"""Scales of axes: from zero or over a range in round steps, or logarithmic over the decades of what is shown."""

import math
from collections.abc import Iterable

__all__ = ["Linear", "Logarithmic", "Ranged"]

_STEPS = (1, 2, 2.5, 5, 10)


class Ranged:
    """Over all of ``values``, at least a span of ``least``, with about ``wanted`` round steps; both ends are ticks."""

    def __init__(self, values: Iterable[float], wanted: int = 4, least: float = 0.0) -> None:
        found = list(values)
        more = max(0.0, least - (max(found) - min(found))) / 2
        low, high = min(found) - more, max(found) + more
        span = (high - low) or abs(high) or 1.0
        power = 10 ** math.floor(math.log10(span / wanted))
        step = next(step * power for step in _STEPS if step * power >= span / wanted * (1 - 1e-9))
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if first == last:
            last += 1
        self.low, self.high = first * step, last * step
        self.ticks = [number * step for number in range(first, last + 1)]

    def at(self, value: float) -> float:
        """Where ``value`` is, from 0 to 1."""
        return (value - self.low) / (self.high - self.low)


class Linear(Ranged):
    """From ``low``, which is at most 0, to at least ``high``: bars begin at zero."""

    def __init__(self, high: float, low: float = 0.0) -> None:
        super().__init__([min(low, 0.0), max(high, 0.0)])


class Logarithmic:
    """Over all of ``values``, which are above 0, with a margin; ticks at 1, 2 and 5, or at decades alone.

    Where values are so near to each other that none or one of these is among them, ticks are in round steps.
    """

    def __init__(self, values: Iterable[float], margin: float = 0.08) -> None:
        logs = [math.log10(value) for value in values if value > 0]
        low, high = min(logs, default=0.0), max(logs, default=1.0)
        more = max(margin * (high - low), 0.05)
        self._low, self._high = low - more, high + more
        decades = range(math.floor(self._low), math.ceil(self._high) + 1)
        wide = self._high - self._low
        leads = (1, 2, 5) if wide < 2.5 else (1,)
        if wide < 0.7:
            leads = (1, 1.5, 2, 3, 4, 5, 6, 8)
        ticks = [lead * 10.0**decade for decade in decades for lead in leads]
        self.ticks = [tick for tick in ticks if self._low <= math.log10(tick) <= self._high]
        self.low, self.high = 10**self._low, 10**self._high
        if len(self.ticks) < 2:
            self.ticks = [tick for tick in Ranged([self.low, self.high]).ticks if self.low <= tick <= self.high]

    def at(self, value: float) -> float:
        """Where ``value`` is, from 0 to 1."""
        return (math.log10(value) - self._low) / (self._high - self._low)
