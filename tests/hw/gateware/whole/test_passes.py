"""A pass ends when its own last word is through the datapath, whatever was under way as it began."""

import pytest
from amaranth.sim import Simulator

from hw.config import load_array
from hw.gateware.whole.datapath import PASS_DEPTH, SCAN_DEPTH
from hw.gateware.whole.passes import PassEngine
from hw.program.machine import machine_around


def _edges_to_done(first: int, second: int, scan: int) -> int:
    """Edges from the start of a pass of ``second`` words, an edge behind the last of ``first`` words, to its end."""
    engine, taken = PassEngine(machine_around(load_array("8x8"), 2)), []

    async def bench(ctx):
        ctx.set(engine.rows, 1)
        for words, scanning in ((first, 0), (second, scan)):
            ctx.set(engine.words, words)
            ctx.set(engine.scan, scanning)
            ctx.set(engine.start, 1)
            await ctx.tick()
            ctx.set(engine.start, 0)
            if not taken:
                await ctx.tick().repeat(words)
                taken.append(0)
        while not ctx.get(engine.done):
            await ctx.tick()
            taken[0] += 1

    simulator = Simulator(engine)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    return taken[0]


@pytest.mark.parametrize(("scan", "depth"), [(0, PASS_DEPTH), (1, SCAN_DEPTH)])
@pytest.mark.parametrize("words", [2, PASS_DEPTH + 5])
def test_a_start_forgets_the_pass_that_is_under_way(words, scan, depth):
    assert _edges_to_done(3, words, scan) == words + depth - 1
