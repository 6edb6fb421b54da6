"""Operand statistics of a GEMM where nothing was measured: derived from two stated assumptions, and marked so."""

import math
from typing import Literal

from sim.result import Statistics

__all__ = ["DIGIT_ZERO_FRACTION", "GAUSSIAN_ZERO_FRACTION", "RANDOM_TOGGLE_RATE", "Order", "assumed_statistics"]

Order = Literal["prefill", "decode"]  # weights stay and tokens change, or weights change with every issue

RANDOM_TOGGLE_RATE = 0.5  # of each bit of independent uniform operands

# Absmean rounding gives t = 0 where |w| < E|w| / 2; for Gaussian w, E|w| = sigma * sqrt(2 / pi), so
# P(t = 0) = erf(sqrt(2 / pi) / 2 / sqrt(2)). Ref: Ma et al., BitNet b1.58 (arXiv 2402.17764), eq. 1-3.
GAUSSIAN_ZERO_FRACTION = math.erf(0.5 / math.sqrt(math.pi))

# Of digits of values evenly spread; the highest digits of bell-shaped ones are oftener zero.
DIGIT_ZERO_FRACTION = 1 / 3


def assumed_statistics(order: Order, zero_fraction: float | None = None, origin: str = "") -> Statistics:
    """Statistics of random activations selected by independent trits.

    A lane's selected operand has each bit set with p = (1 - z) / 2. In decode every issue has a new trit, so a bit
    toggles with 2 p (1 - p); in prefill a zero trit holds its lane at zero and the others toggle at random, so the
    rate is (1 - z) / 2. ``zero_fraction`` None: Gaussian weights under absmean rounding.
    """
    if zero_fraction is None:
        zero_fraction = GAUSSIAN_ZERO_FRACTION
        origin = "zero fraction of Gaussian weights under absmean rounding, erf(1 / (2 sqrt(pi))); random activations"
    origin = origin or "zero fraction as the job says; random activations"
    p = (1 - zero_fraction) / 2
    toggle_rate = p if order == "prefill" else 2 * p * (1 - p)
    return Statistics(
        zero_fraction=zero_fraction,
        toggle_rate=toggle_rate,
        input_toggle_rate=RANDOM_TOGGLE_RATE,
        measured=False,
        origin=origin,
    )
