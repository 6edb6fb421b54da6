"""The scale unit against ``hw.token``: random values of every size and both ends, and how long a task takes."""

import numpy as np
import pytest
from amaranth.sim import Simulator

from hw.gateware.whole.scale_unit import SCALE_EDGES, ScaleTask, ScaleUnit
from hw.token.quantize import quantized
from hw.token.scales import Scale, constant, multiply, reciprocal, reciprocal_root, scale_of

RNG = np.random.default_rng(16)


def sizes(bits, count=60):
    """Values of every size, and the ends."""
    found = [0, 1, 2, 3, (1 << bits) - 1, 1 << bits - 1]
    found += [int(RNG.integers(1 << size, 2 << size)) for size in RNG.integers(0, bits - 1, count)]
    return found


def run(tasks):
    """Outputs of tasks one behind the other, their edges checked."""
    dut, found = ScaleUnit(), []

    async def bench(ctx):
        for task, fields in tasks:
            ctx.set(dut.task, task)
            for name, value in fields.items():
                if isinstance(value, Scale):
                    port = getattr(dut, name)
                    ctx.set(port.mantissa, int(value.mantissa))
                    ctx.set(port.exponent, int(value.exponent))
                else:
                    ctx.set(getattr(dut, name), value)
            ctx.set(dut.start, 1)
            await ctx.tick()
            ctx.set(dut.start, 0)
            edges = 1
            while not ctx.get(dut.done):
                await ctx.tick()
                edges += 1
            assert edges == SCALE_EDGES[task]
            await ctx.tick()
            scale = (ctx.get(dut.scale.mantissa), ctx.get(dut.scale.exponent))
            found.append((*scale, ctx.get(dut.pre), ctx.get(dut.inverse), ctx.get(dut.k)))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    return found


def pair(scale):
    return int(scale.mantissa), int(scale.exponent)


def test_reciprocals_and_roots():
    values = sizes(48)
    tasks = [(task, {"value": value}) for value in values for task in (ScaleTask.RECIPROCAL, ScaleTask.ROOT)]
    wanted = [pair(f) for v in values for f in (reciprocal(scale_of(np.int64(v))), reciprocal_root(np.int64(v)))]
    assert [one[:2] for one in run(tasks)] == wanted


@pytest.mark.parametrize("limit", [1, 4, 13, 40, 121, 127, 127 * 128])
@pytest.mark.parametrize("products", [0, 1, 2])
def test_the_quantizer_divides_as_the_reference(limit, products):
    factor, root = constant(0.37 * limit), constant(1.9e-4)
    fields = {"limit": limit, "inverse_limit": constant(1 / limit), "use_root": products == 2, "root": root}
    fields["factor"] = factor if products else Scale(np.int64(0), np.int64(0))
    values = sizes(32, 25)
    values[4:6] = [1 << 31, (1 << 31) - 1]
    found = run([(ScaleTask.QUANT, {"value": value, **fields}) for value in values])
    for value, (mantissa, exponent, pre, inverse, k) in zip(values, found, strict=True):
        row = np.array([value, -value, value // 3, value // 2, -(value // 7)], np.int64)
        q, scale = quantized(row, limit)
        for number in (root, factor)[2 - products :]:
            scale = multiply(scale, number)
        assert (mantissa, exponent) == pair(scale), value
        product = (row >> pre) * inverse
        half = (product >> k) + (((product >> k - 1) & 1) & (((product & (1 << k - 1) - 1) > 0) | (product >> k & 1)))
        assert np.array_equal(half, q), value
