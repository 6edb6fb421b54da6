"""Random whole-token programs with what their memory does and which tokens are taken in."""

from collections.abc import Iterator
from typing import NamedTuple
from unittest.mock import patch

import numpy as np

from hw.program.compiler import compiled
from hw.program.image import Image
from hw.program.layout import EMBEDDINGS
from hw.program.machine import MachineConfig
from hw.token.attention import AttentionFormat
from tests.hw.token.random_models import random_model

__all__ = ["CONTEXT", "RandomRun", "random_runs"]

CONTEXT = 56


class RandomRun(NamedTuple):
    """A program, its memory's timing, and of each token from a position on whether the next one is wanted."""

    image: Image
    latency: int
    stalls: bytes
    position: int
    wanted: list[bool]


def random_runs(machine: MachineConfig, cases: int, seed: int) -> Iterator[RandomRun]:
    """Shapes about the sizes of the array, every format of K and V, memories that stall and that do not."""
    rng = np.random.default_rng(seed)
    for case in range(cases):
        kv_heads, group = [(1, 1), (1, 3), (2, 2), (3, 1)][rng.integers(4)]
        digits, rotate, block = (
            (int(d) for d in rng.integers(2, 6, 2)),
            bool(rng.integers(2)),
            int(rng.choice([16, 32])),
        )
        form = AttentionFormat(*digits, rotate, 64 if case % 7 == 6 else block)
        hidden = int(rng.choice([16, 32, *rng.integers(8, 50, 6)]))
        vocabulary = int(rng.choice([8, *rng.integers(5, 60, 9)]))
        model = random_model(
            case, form=form, layers=int(rng.integers(1, 3)), heads=kv_heads * group, kv_heads=kv_heads, hidden=hidden,
            intermediate=int(rng.integers(8, 70)), digits=int(rng.integers(1, 4)),
            head_dim=int(rng.choice([8, 16, 24])), vocabulary=vocabulary, context=CONTEXT,
        )  # fmt: skip
        with patch("hw.program.compiler.CHUNK", 16 if case % 4 == 0 else 1024):  # linears and table in several GEMMs
            image = compiled(model, machine, EMBEDDINGS[case // 2 % 2])
        stalls = (rng.random(rng.integers(2, 500)) < rng.choice([0.3, 0.7, 0.95])).astype(np.uint8)
        stalls[rng.integers(stalls.size)] = 1
        if case % 6 == 4:  # a memory that is slower than the port: a word on every second to sixth edge
            stalls = np.array([1] + [0] * (1 + case // 6 % 5), np.uint8)
        tokens = int(rng.integers(1, 20))
        yield RandomRun(
            image,
            latency=int(rng.integers(1, 20)),
            stalls=stalls.tobytes() if case % 3 else b"",
            position=int(rng.integers(CONTEXT - tokens)) if case % 5 < 2 else 0,
            wanted=[bool(rng.integers(2)) for _ in range(tokens)],
        )
