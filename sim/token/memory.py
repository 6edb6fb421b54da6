"""Memory and clock that a token budget is told for, as options give them."""

import math

from hw.errors import InputError

__all__ = ["MOST_LATENCY", "check_memory"]

MOST_LATENCY = 4096  # edges; 65 us at the default clock, a thousand times what a DRAM takes


def check_memory(latency: int, mhz: float) -> None:
    """Refuse a latency in edges, or a clock, that no memory has.

    Raises:
        InputError: a latency of no edge or of more than ``MOST_LATENCY``, a clock that is not above 0 and finite.
    """
    if not 1 <= latency <= MOST_LATENCY:
        raise InputError(f"--latency must be 1 to {MOST_LATENCY} edges, not {latency}")
    if not (mhz > 0 and math.isfinite(mhz)):
        raise InputError(f"--mhz must be above 0 and finite, not {mhz:g}")
