"""The tree of docs/architecture.md as a slow, obvious Python machine: the reference of the numba kernels."""

from collections import Counter, deque

from hw.config import ArrayConfig
from hw.golden import tiles
from quant.shapes import Gemm
from tests.sim.kernels.naive_streams import ResultQueue, WeightBus

__all__ = ["naive_cycles"]


def naive_cycles(gemm: Gemm, array: ArrayConfig, weights, activations, results) -> Counter:
    """Edges by cause; each pattern is a function edge -> bool."""
    work = tiles(gemm.m, gemm.n, gemm.k, array.token_tile, array.cols, array.rows)
    vectors = deque(
        deque(cut_k.stop >= gemm.k for _ in range(cut_m.start, cut_m.stop)) for cut_m, _, cut_k in work
    )  # per tile: its activation vectors, each knowing whether it makes a result
    bus = WeightBus(array, len(work))
    queue = ResultQueue(array, gemm.m * -(-gemm.n // array.cols))
    active = None
    causes = Counter()
    edge = 0
    while queue.to_come:
        edge += 1
        wants_credit = bool(active) and active[0]
        lacks_credit = wants_credit and queue.credits == 0
        issue = bool(active) and not lacks_credit and activations(edge)
        swap, cause_without_tile = bus.step(edge, not active or (issue and len(active) == 1), weights)
        cause_behind_all = queue.step(edge, issue and wants_credit, results)
        if issue:
            causes["ideal"] += 1
        elif active:
            causes["output_stall" if lacks_credit else "input_stall"] += 1
        else:
            causes[cause_without_tile if vectors else cause_behind_all] += 1
        if issue:
            active.popleft()
        if swap:
            active = vectors.popleft()
    return causes
