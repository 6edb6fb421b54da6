"""Both organisations of docs/architecture.md as slow, obvious Python machines, edge by edge; models must equal them.

A machine decides on each edge whether it issues; then it steps what it stands between: the weight bus with its shadow
tile, and the result queue.
"""

from collections import Counter, deque
from collections.abc import Callable, Sequence

__all__ = ["CAUSES", "naive_cycles"]

CAUSES = ("ideal", "fill_drain", "weight_stall", "input_stall", "output_stall")

Pattern = Sequence[int] | Callable[[int], bool]  # of edges 1, 2, ..., then 1; or edge -> offered, or ready


def naive_cycles(
    gemm, array, weights: Pattern = (), activations: Pattern = (), results: Pattern = (), planes=1, row_scales=False
) -> dict[str, int]:
    """Cycles of one GEMM, whole (``"cycles"``) and by cause.

    ``gemm``: (m, n, k); ``array``: anything with the fields of an ``ArrayConfig``. The folds of ``planes`` follow one
    another; with ``row_scales`` the last of them brings ``array.scale_beats`` more words. A pattern that is a function
    is asked only where a transfer would take place.
    """
    m, n, k = gemm
    tiles = []  # (tokens, positions of K, last fold?) in stream order
    for i in range(0, m, array.token_tile):
        for _ in range(0, n, array.cols):
            for plane in range(planes):
                for h in range(0, k, array.rows):
                    last = plane == planes - 1 and h + array.rows >= k
                    tiles.append((min(array.token_tile, m - i), min(array.rows, k - h), last))
    bus = _WeightBus([array.weight_beats + array.scale_beats * (row_scales and last) for *_, last in tiles])
    queue = _ResultQueue(array, sum(tokens for tokens, _, last in tiles if last))
    machine = {"tree": _tree, "systolic": _grid}[array.organisation]
    causes = machine(tiles, bus, queue, *(_ask(pattern) for pattern in (weights, activations, results)))
    return {"cycles": causes.total()} | {cause: causes[cause] for cause in CAUSES}


def _ask(pattern: Pattern) -> Callable[[int], bool]:
    """edge -> offered, or ready."""
    return pattern if callable(pattern) else lambda edge: edge > len(pattern) or bool(pattern[edge - 1])


def _tree(tiles, bus, queue, weights, activations, results) -> Counter:
    """A tile takes a vector per token; each vector of a last fold makes a result."""
    vectors = deque(deque([last] * tokens) for tokens, _, last in tiles)  # each knows whether it makes a result
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


def _grid(tiles, bus, queue, weights, activations, results) -> Counter:
    """A tile takes a vector per position of K; the last of a column tile releases a result per token."""
    work = deque([positions, tokens if last else 0] for tokens, positions, last in tiles)  # left, results at its end
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


class _WeightBus:
    """Beats that fill the shadow tile, and the swaps that empty it."""

    def __init__(self, beats: Sequence[int]):
        self.beats = deque(beats)  # left of each tile on its way
        self.shadow_full, self.ever_swapped = False, False

    def step(self, edge: int, active_free: bool, weights: Callable[[int], bool]) -> tuple[bool, str]:
        """Whether the shadow becomes active on this edge, and the edge's cause if no tile is active.

        ``active_free``: no tile is active, or its last vector is issued on this edge.
        """
        swap = self.shadow_full and active_free
        beat = bool(self.beats) and (not self.shadow_full or swap) and weights(edge)
        first_tile_comes = not self.ever_swapped and (self.shadow_full or beat)
        if swap:
            self.shadow_full, self.ever_swapped = False, True
        if beat:
            self.beats[0] -= 1
            if self.beats[0] == 0:
                self.beats.popleft()
                self.shadow_full = True
        return swap, "fill_drain" if first_tile_comes else "weight_stall"


class _ResultQueue:
    """Results under way and waiting, and the credits that they hold."""

    def __init__(self, array, results: int):
        self.credits, self.latency = array.result_queue_depth, array.pipeline_latency
        self.flying = deque()  # edges from which results may leave
        self.to_come = results

    def step(self, edge: int, released: int, ready: Callable[[int], bool]) -> str:
        """The edge's cause if all vectors are issued; ``released``: results of the vector that it issues."""
        valid = bool(self.flying) and self.flying[0] <= edge
        transfer = valid and ready(edge)
        if transfer:
            self.flying.popleft()
            self.to_come -= 1
        self.flying.extend(edge + self.latency + number for number in range(released))
        self.credits += transfer - released
        return "output_stall" if valid and not transfer else "fill_drain"
