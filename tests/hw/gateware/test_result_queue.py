"""The queue of results against a queue of Python: order, flags and every slot, under random pauses."""

import random
from collections import deque

import pytest
from amaranth import Module

from hw.gateware.results.queue import ResultQueue
from tests.hw.amaranth_bench import played_by


@pytest.mark.parametrize(("writes", "reads"), [(1.0, 1.0), (0.9, 0.3), (0.3, 0.9), (0.5, 0.5)])
@pytest.mark.parametrize(("widths", "depth"), [([7], 1), ([7], 4), ([3, 4], 5), ([2, 2, 1], 14)])
def test_words_come_out_whole_and_in_order_on_the_edge_after_they_were_written(widths, depth, writes, reads):
    queue, held, chance = ResultQueue(widths, depth), deque(), random.Random(depth)
    m = Module()
    m.submodules += queue
    seen = {"out": 0, "most": 0}

    async def bench(ctx):
        for _ in range(600):
            word, write, read = chance.randrange(1 << sum(widths)), chance.random() < writes, chance.random() < reads
            write = write and len(held) < depth  # credits of whoever writes
            ctx.set(queue.w_data, word)
            for enable in queue.w_en:
                ctx.set(enable, write)
            ctx.set(queue.r_en, read)
            assert ctx.get(queue.r_rdy) == bool(held)
            if held:
                assert ctx.get(queue.r_data) == held[0]
            if read and held:
                held.popleft()
                seen["out"] += 1
            if write:
                held.append(word)
            seen["most"] = max(seen["most"], len(held))
            await ctx.tick()

    played_by(m, bench)
    assert seen["out"] > 100
    assert writes <= reads or seen["most"] == depth
