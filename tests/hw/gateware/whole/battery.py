"""What a correct machine passes and every seeded fault must fail: values, cycles, statuses. Run as a module."""

import numpy as np

from hw.program.interpreter import Status
from hw.token.attention import AttentionFormat
from sim.token.cycles import TokenCycles
from tests.hw.gateware.whole.bench import Bench
from tests.hw.gateware.whole.test_machine import changed, damaged, image

__all__ = ["judge"]

_CASES = (
    # two blocks, rotated, queries that share K and V, few digits of V
    ({"form": AttentionFormat(5, 3, True, 8), "context": 24, "head_dim": 16}, 9, 7),
    # three blocks of which the last is short, no rotation, heads of several folds, parts, 4 lanes
    ({"array": "8x16", "lanes": 4, "form": AttentionFormat(4, 5, False, 16), "head_dim": 24, "hidden": 32,
      "intermediate": 48, "kv_heads": 2, "parts": 2, "seed": 8}, 33, 7),
    # the only token's score is negative: a row's maximum begins below it
    ({"form": AttentionFormat(5, 3, True, 8), "seed": 4}, 0, 0),
)  # fmt: skip


def judge():
    """Raise an AssertionError at the first difference."""
    for fields, position, token in _CASES:
        program, _ = image(machine={"scratch_words": 256, "activation_words": 64}, **fields)
        stalls = np.random.default_rng(1).integers(0, 2, 2000)
        bench = Bench(program, 3, stalls, position=position)
        bench.golden.memory[-40:] = 0x5D  # what lies behind the context does not matter
        bench.memory[-40:] = 0x5D
        bench.run([(token, True)], 25_000)
        assert bench.status == Status.OK
        assert bench.answers == [bench.golden.best_id]
        cycles = TokenCycles(program, 3, np.concatenate([stalls, np.ones(60_000, np.int64)]).astype(np.uint8).tobytes())
        if position:
            cycles.seek(position)
        assert [count for _, count in bench.trace] == [one.cycles for one in cycles.step()]
    program, _ = image()
    for broken in (changed(program, 0, "address", program.header.memory_words), damaged(program, 32 * 4 + 31, 0x80)):
        bench = Bench(program)
        bench.compare = False
        bench.memory.reshape(-1)[: len(broken.memory)] = broken.memory
        bench.run([(1, True)], 10_000)
        assert bench.status in (Status.OUTSIDE_MEMORY, Status.UNKNOWN_INSTRUCTION)


if __name__ == "__main__":
    judge()
