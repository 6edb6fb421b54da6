"""The systolic grid of docs/architecture.md as a slow, obvious Python machine: the reference of the numba kernels."""

from collections import Counter, deque

from hw.config import ArrayConfig
from hw.golden import tiles
from quant.shapes import Gemm
from tests.sim.kernels.naive_streams import ResultQueue, WeightBus

__all__ = ["naive_grid_cycles"]


def naive_grid_cycles(gemm: Gemm, array: ArrayConfig, weights, activations, results) -> Counter:
    """Edges by cause; each pattern is a function edge -> bool."""
    work = deque()  # per tile: positions left, results that its last position releases
    for cut_m, _, cut_k in tiles(gemm.m, gemm.n, gemm.k, array.token_tile, array.cols, array.rows):
        work.append([cut_k.stop - cut_k.start, cut_m.stop - cut_m.start if cut_k.stop == gemm.k else 0])
    bus = WeightBus(array, len(work))
    queue = ResultQueue(array, gemm.m * -(-gemm.n // array.cols))
    active = None
    finals = []  # (edge, results)
    causes = Counter()
    edge = 0
    while queue.to_come:
        edge += 1
        at_end = bool(active) and active[0] == 1
        final = at_end and active[1] > 0
        behind_the_wave = bool(finals) and finals[-1][0] == edge - 1
        far_enough = not finals or finals[-1][0] <= edge - finals[-1][1]
        held = final and not (far_enough and queue.credits >= active[1])
        issue = bool(active) and not behind_the_wave and not held and activations(edge)
        swap, cause_without_tile = bus.step(edge, not active or (issue and at_end), weights)
        cause_behind_all = queue.step(edge, active[1] if issue and final else 0, results)
        if issue:
            causes["ideal"] += 1
        elif active:
            causes["fill_drain" if behind_the_wave else "output_stall" if held else "input_stall"] += 1
        else:
            causes[cause_without_tile if work else cause_behind_all] += 1
        if issue and final:
            finals.append((edge, active[1]))
        if issue:
            active[0] -= 1
        if issue and at_end:
            active = None
        if swap:
            active = work.popleft()
    return causes
