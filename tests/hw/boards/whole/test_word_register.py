"""Words through the register: all of them, in order, one per edge where nobody holds them back."""

from itertools import pairwise

import numpy as np
from amaranth.sim import Simulator

from hw.boards.whole.word_register import WordRegister


def passed(offered, taken):
    """Edges and words that come out; ``offered``, ``taken``: by edge, whether a word is there, whether it is wanted."""
    dut, out = WordRegister(16), []

    async def bench(ctx):
        word = 1
        for edge, (there, wanted) in enumerate(zip(map(bool, offered), map(bool, taken), strict=True)):
            ctx.set(dut.input.payload, word)
            ctx.set(dut.input.valid, int(there))
            ctx.set(dut.output.ready, int(wanted))
            if ctx.get(dut.output.valid) and wanted:
                out.append((edge, ctx.get(dut.output.payload)))
            word += ctx.get(dut.input.ready) * there
            await ctx.tick()

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return out


def test_a_word_per_edge_comes_an_edge_later():
    assert passed([1] * 10, [1] * 10) == [(edge, edge) for edge in range(1, 10)]


def test_no_word_is_lost_or_doubled_by_gaps_and_by_who_holds_back():
    rng = np.random.default_rng(4)
    for share in (0.2, 0.5, 0.9):
        out = [word for _, word in passed(rng.random(200) < share, rng.random(200) < 0.6)]
        assert len(out) > 20
        assert all(b - a == 1 for a, b in pairwise([0, *out]))
