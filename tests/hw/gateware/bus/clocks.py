"""Clocks of a bench: the bus at 10 ns, the core beside it at any period and phase, or at random from edge to edge."""

import os

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import Timer

BUS_NS = 10
_EDGES = [0]  # of the core's clock in this simulation


def core_edges() -> int:
    """Rising edges of the core's clock so far."""
    return _EDGES[0]


def start_clocks(dut) -> None:
    """``TRITFORGE_CORE_CLOCK``: period and phase in ns, as 7:3; or random:SEED; nothing where the core has no clock."""
    Clock(dut.aclk, BUS_NS, unit="ns").start()
    if how := os.environ.get("TRITFORGE_CORE_CLOCK"):
        cocotb.start_soon(_core_clock(dut.core_clk, *how.split(":")))


async def _core_clock(pin, first: str, second: str) -> None:
    rng = np.random.default_rng(int(second)) if first == "random" else None
    pin.value = 0
    await Timer(1 if rng is not None else int(second) + 1, unit="ns")
    while True:
        # Half periods of 1.5 to 20 ns, each for some edges: both sides overtake each other.
        stretch = int(rng.integers(15, 60 if rng.random() < 0.5 else 200)) if rng is not None else 5 * int(first)
        for _ in range(int(rng.integers(1, 20)) if rng is not None else 1):
            for level in (1, 0):
                pin.value = level
                _EDGES[0] += level
                jitter = int(rng.integers(0, 10)) if rng is not None else 0
                await Timer(100 * (stretch + jitter), unit="ps")
