"""The array of docs/architecture.md as a slow, obvious Python machine: the reference of the numba kernels."""

from collections import Counter, deque

from hw.config import ArrayConfig
from hw.golden import tiles
from quant.shapes import Gemm


def naive_cycles(gemm: Gemm, array: ArrayConfig, weights, activations, results) -> Counter:
    """Edges by cause; each pattern is a function edge -> bool."""
    grid = tiles(gemm.m, gemm.n, gemm.k, array.token_tile, array.cols, array.rows)
    vectors = deque(
        deque((number, cut_k.stop >= gemm.k) for _ in range(cut_m.start, cut_m.stop))
        for number, (cut_m, _, cut_k) in enumerate(grid)
    )  # per tile: its activation vectors, each knowing whether it makes a result
    bus = deque([array.weight_beats] * len(grid))  # beats left of each tile on its way
    shadow_full, active, ever_swapped = False, None, False
    credits = array.result_queue_depth
    flying = deque()  # edges from which results may leave
    to_come = gemm.m * -(-gemm.n // array.cols)
    causes = Counter()
    edge = 0
    while to_come:
        edge += 1
        wanting_credit = bool(active) and active[0][1]
        issue = bool(active) and (credits > 0 or not wanting_credit) and activations(edge)
        leaving = issue and len(active) == 1
        swap = shadow_full and (not active or leaving)
        beat = bool(bus) and (not shadow_full or swap) and weights(edge)
        valid = bool(flying) and flying[0] <= edge
        transfer = valid and results(edge)
        if issue:
            causes["ideal"] += 1
        elif not active and not vectors:
            causes["output_stall" if valid and not transfer else "fill_drain"] += 1
        elif active:
            causes["output_stall" if wanting_credit and credits == 0 else "input_stall"] += 1
        elif not ever_swapped and (shadow_full or beat):
            causes["fill_drain"] += 1
        else:
            causes["weight_stall"] += 1
        if transfer:
            flying.popleft()
            to_come -= 1
        if issue:
            _, makes_result = active.popleft()
            if makes_result:
                flying.append(edge + array.pipeline_latency)
        credits += transfer - (issue and makes_result)
        if swap:
            active, shadow_full, ever_swapped = vectors.popleft(), False, True
        if beat:
            bus[0] -= 1
            if bus[0] == 0:
                bus.popleft()
                shadow_full = True
    return causes
