"""Lane and column in the Amaranth simulator: the promised sum after the promised number of registers, one per edge."""

import numpy as np
import pytest
from amaranth.hdl import Const, Module, Signal
from amaranth.sim import Simulator

from hw.arithmetic.lane import TritCode, term
from hw.config import ArrayConfig
from hw.gateware.column import Column
from hw.trit import pack

SHAPES = [(1, 1, 1), (2, 1, 1), (3, 1, 2), (5, 2, 1), (8, 1, 3), (9, 4, 2), (16, 4, 2), (7, 7, 1), (32, 1, 2)]


@pytest.mark.parametrize(("trit", "code"), [(0, 0b00), (1, 0b01), (-1, 0b11)])
def test_a_term_lacks_exactly_the_one_of_a_negation(trit, code):
    m = Module()
    x, value = Signal(8), Signal(8)
    m.d.comb += value.eq(term(x, TritCode(Const(code, 2))).as_unsigned())

    async def bench(ctx):
        for number in range(-128, 128):
            ctx.set(x, number & 0xFF)
            await ctx.delay(1e-9)
            assert ctx.get(value) == (trit * number - (trit < 0)) & 0xFF

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


@pytest.mark.parametrize(("rows", "chain", "per_register"), SHAPES)
def test_every_edge_gives_the_sum_of_column_stages_before(rows, chain, per_register):
    config = ArrayConfig(name="t", rows=rows, cols=1, chain_lanes=chain, adders_per_register=per_register)
    rng = np.random.default_rng(rows)
    edges = 60
    x = rng.choice(np.array([-128, -127, -1, 0, 1, 127], np.int64), (edges, rows))
    trits = rng.integers(-1, 2, (edges, rows))
    trits[:3] = [[-1] * rows, [1] * rows, [0] * rows]
    sums = (x * trits).sum(axis=1)
    dut = Column(config)

    async def bench(ctx):
        for edge in range(edges + config.column_stages):
            for lane in range(rows):
                mine = min(max(edge - lane % chain, 0), edges - 1)  # lanes of a chain work sequentially
                ctx.set(dut.x[lane], int(x[mine, lane]) & 0xFF)
                code = int(pack(trits[mine, lane : lane + 1].astype(np.int8), "2bit")[0])
                ctx.set(dut.trits[lane], {"nonzero": code & 1, "negative": code >> 1})
            ctx.set(dut.negatives, int((trits[min(edge, edges - 1)] < 0).sum()))
            await ctx.tick()
            if edge + 1 >= config.column_stages and edge + 1 - config.column_stages < edges:
                assert ctx.get(dut.total) == sums[edge + 1 - config.column_stages]

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
