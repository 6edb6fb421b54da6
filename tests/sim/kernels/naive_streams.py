"""What the naive machines of both organisations stand between: the weight bus with its shadow tile, the result queue.

An organisation decides on each edge whether it issues; then it steps both.
"""

from collections import deque
from collections.abc import Callable

from hw.config import ArrayConfig

__all__ = ["ResultQueue", "WeightBus"]

Pattern = Callable[[int], bool]  # edge -> offered, or ready


class WeightBus:
    """Beats that fill the shadow tile, and the swaps that empty it."""

    def __init__(self, array: ArrayConfig, tiles: int):
        self.beats = deque([array.weight_beats] * tiles)  # left of each tile on its way
        self.shadow_full, self.ever_swapped = False, False

    def step(self, edge: int, active_free: bool, weights: Pattern) -> tuple[bool, str]:
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


class ResultQueue:
    """Results under way and waiting, and the credits that they hold."""

    def __init__(self, array: ArrayConfig, results: int):
        self.credits, self.latency = array.result_queue_depth, array.pipeline_latency
        self.flying = deque()  # edges from which results may leave
        self.to_come = results

    def step(self, edge: int, released: int, ready: Pattern) -> str:
        """The edge's cause if all vectors are issued; ``released``: results of the vector that it issues."""
        valid = bool(self.flying) and self.flying[0] <= edge
        transfer = valid and ready(edge)
        if transfer:
            self.flying.popleft()
            self.to_come -= 1
        self.flying.extend(edge + self.latency + number for number in range(released))
        self.credits += transfer - released
        return "output_stall" if valid and not transfer else "fill_drain"
