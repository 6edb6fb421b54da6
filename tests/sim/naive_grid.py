"""The systolic grid of docs/architecture.md as a slow, obvious Python machine: the reference of its numba kernels."""

from collections import Counter, deque

from hw.config import ArrayConfig
from hw.golden import tiles
from quant.shapes import Gemm


def naive_grid_cycles(gemm: Gemm, array: ArrayConfig, weights, activations, results) -> Counter:
    """Edges by cause; each pattern is a function edge -> bool."""
    work = deque()  # per tile: positions left, results that its last position releases
    for cut_m, _, cut_k in tiles(gemm.m, gemm.n, gemm.k, array.token_tile, array.cols, array.rows):
        work.append([cut_k.stop - cut_k.start, cut_m.stop - cut_m.start if cut_k.stop == gemm.k else 0])
    bus = deque([array.weight_beats] * len(work))
    shadow_full, active, ever_swapped = False, None, False
    credits = array.result_queue_depth
    flying = deque()  # edges from which results may leave
    to_come = gemm.m * -(-gemm.n // array.cols)
    finals = []  # (edge, results)
    causes = Counter()
    edge = 0
    while to_come:
        edge += 1
        final = bool(active) and active[0] == 1 and active[1] > 0
        behind_the_wave = bool(finals) and finals[-1][0] == edge - 1
        far_enough = not finals or finals[-1][0] <= edge - finals[-1][1]
        held = final and not (far_enough and credits >= active[1])
        issue = bool(active) and not behind_the_wave and not held and activations(edge)
        leaving = issue and active[0] == 1
        swap = shadow_full and (not active or leaving)
        beat = bool(bus) and (not shadow_full or swap) and weights(edge)
        valid = bool(flying) and flying[0] <= edge
        transfer = valid and results(edge)
        if issue:
            causes["ideal"] += 1
        elif not active and not work:
            causes["output_stall" if valid and not transfer else "fill_drain"] += 1
        elif active:
            causes["fill_drain" if behind_the_wave else "output_stall" if held else "input_stall"] += 1
        elif not ever_swapped and (shadow_full or beat):
            causes["fill_drain"] += 1
        else:
            causes["weight_stall"] += 1
        if transfer:
            flying.popleft()
            to_come -= 1
            credits += 1
        if issue:
            active[0] -= 1
            if final:
                finals.append((edge, active[1]))
                credits -= active[1]
                flying.extend(edge + array.pipeline_latency + token for token in range(active[1]))
        if leaving:
            active = None
        if swap:
            active, shadow_full, ever_swapped = work.popleft(), False, True
        if beat:
            bus[0] -= 1
            if bus[0] == 0:
                bus.popleft()
                shadow_full = True
    return causes
