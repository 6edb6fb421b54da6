"""``KeyBlocks``: how attention over a growing cache falls into GEMMs, each distinct size once.

A GEMM multiplies the queries of one KV head, ``token_tile`` tokens of its whole group, with a block of keys. Keys
beyond the last query of the tile are skipped: whole tiles of K and V that causal masking hides are neither read nor
multiplied. What is masked inside the last tiles is multiplied and dropped.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from sim.trace.ops import AttentionOp

__all__ = ["KeyBlocks", "cached_tokens", "contexts_of", "key_blocks"]


class KeyBlocks(NamedTuple):
    """GEMMs of one KV head with equally many rows, over all steps and query tiles."""

    rows: int  # query tokens x query heads of the group
    keys: np.ndarray  # of a GEMM, int64 (sizes,)
    times: np.ndarray  # how many GEMMs have so many, int64 (sizes,)
    last: np.ndarray  # whether they end their query tile's context, bool (sizes,)


def contexts_of(op: AttentionOp, query_tile: int) -> Iterator[tuple[int, np.ndarray]]:
    """Query tiles of a step: their tokens, and the keys that they see in each step, int64 ``(steps,)``."""
    past = op.past + op.queries * np.arange(op.steps, dtype=np.int64)
    for first in range(0, op.queries, query_tile):
        tokens = min(query_tile, op.queries - first)
        end = past + first + tokens
        yield tokens, end if op.window is None else np.minimum(end, op.window + tokens - 1)


def cached_tokens(op: AttentionOp, query_tile: int) -> np.ndarray:
    """Cached tokens fetched for one head and sequence in each step, once per query tile: int64 ``(steps,)``."""
    return sum((contexts for _, contexts in contexts_of(op, query_tile)), np.zeros(op.steps, np.int64))


def key_blocks(op: AttentionOp, query_tile: int, block_of: Callable[[int], int] | None = None) -> list[KeyBlocks]:
    """The GEMMs of scores, or of values, of one KV head of one sequence.

    ``block_of``: rows -> most keys of one GEMM; None: all of a context in one.
    """
    seen: dict[int, list[np.ndarray]] = {}
    for tokens, contexts in contexts_of(op, query_tile):
        seen.setdefault(tokens * op.group, []).append(contexts)
    return [_in_blocks(rows, np.concatenate(contexts), block_of) for rows, contexts in seen.items()]


def _in_blocks(rows: int, contexts: np.ndarray, block_of: Callable[[int], int] | None) -> KeyBlocks:
    block = block_of(rows) if block_of else int(contexts.max())
    whole = (contexts - 1) // block  # blocks before the last, which holds one key at least
    keys, times = np.unique(contexts - whole * block, return_counts=True)
    last = np.ones(len(keys), bool)
    if before := int(whole.sum()):
        keys, times, last = np.append(keys, block), np.append(times, before), np.append(last, False)
    return KeyBlocks(rows, keys, times, last)
