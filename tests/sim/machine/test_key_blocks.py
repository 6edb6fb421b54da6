"""Blocks of keys against a walk over every step and query tile."""

from collections import Counter

import numpy as np
import pytest

from sim.machine.key_blocks import cached_tokens, key_blocks
from sim.trace.ops import AttentionOp


def op(**fields):
    return AttentionOp(
        **{"name": "attention_scores", "count": 1, "batch": 1, "queries": 5, "past": 3, "steps": 1, "kv_heads": 2,
           "group": 2, "head_dim": 4} | fields
    )  # fmt: skip


def contexts(one, tile):
    """Tokens of each query tile of each step, and the keys from the first that its first query sees to its last."""
    for step in range(one.steps):
        start = one.past + step * one.queries
        for first in range(0, one.queries, tile):
            tokens = min(tile, one.queries - first)
            seen = set()
            for query in range(start + first, start + first + tokens):
                begin = 0 if one.window is None else max(0, query - one.window + 1)
                seen |= set(range(begin, query + 1))
            yield step, tokens, len(seen)


CASES = [
    {},
    {"queries": 1, "steps": 9},
    {"window": 4},
    {"window": 1, "queries": 3, "steps": 4},
    {"past": 0, "steps": 2},
]


@pytest.mark.parametrize("fields", CASES)
@pytest.mark.parametrize("tile", [1, 2, 5, 8])
@pytest.mark.parametrize("block", [None, 1, 3, 4, 100])
def test_every_gemm_and_whether_it_ends_its_context(fields, tile, block):
    one, expected = op(**fields), Counter()
    for _, tokens, keys in contexts(one, tile):
        rows, left = tokens * one.group, keys
        size = left if block is None else block
        while left > size:
            expected[rows, size, False] += 1
            left -= size
        expected[rows, left, True] += 1
    found = Counter()
    for blocks in key_blocks(one, tile, None if block is None else lambda rows: block):
        for keys, times, last in zip(blocks.keys, blocks.times, blocks.last, strict=True):
            found[blocks.rows, int(keys), bool(last)] += int(times)
    assert found == expected


@pytest.mark.parametrize("fields", CASES)
@pytest.mark.parametrize("tile", [1, 2, 8])
def test_tokens_are_fetched_once_for_each_query_tile_of_a_step(fields, tile):
    one = op(**fields)
    expected = np.zeros(one.steps, int)
    for step, _, keys in contexts(one, tile):
        expected[step] += keys
    assert cached_tokens(one, tile).tolist() == expected.tolist()
