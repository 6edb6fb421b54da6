"""Memory and clock that a token budget is told for, as options give them."""

import math

from hw.errors import InputError

__all__ = ["MOST_LATENCY", "check_memory", "word_pattern"]

MOST_LATENCY = 4096  # edges; 65 us at the default clock, a thousand times what a DRAM takes


_MOST_WORD_EDGES = 64


def check_memory(latency: int, mhz: float, word_edges: int = 1) -> None:
    """Refuse a latency in edges, a clock, or edges per word, that no memory has.

    Raises:
        InputError: a latency of no edge or of more than ``MOST_LATENCY``, a clock that is not above 0 and finite, a
            word on no edge or on fewer than every 64th.
    """
    if not 1 <= word_edges <= _MOST_WORD_EDGES:
        raise InputError(f"--word-edges must be 1 to {_MOST_WORD_EDGES}, not {word_edges}")
    if not 1 <= latency <= MOST_LATENCY:
        raise InputError(f"--latency must be 1 to {MOST_LATENCY} edges, not {latency}")
    if not (mhz > 0 and math.isfinite(mhz)):
        raise InputError(f"--mhz must be above 0 and finite, not {mhz:g}")


def word_pattern(word_edges: int) -> bytes:
    """The stall pattern of a memory that gives or takes a word on one of so many edges; empty: on every edge."""
    return bytes([1] + [0] * (word_edges - 1)) if word_edges > 1 else b""
