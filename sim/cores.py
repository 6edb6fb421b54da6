"""``CoreGroup``: several arrays side by side behind one weight buffer, activation buffer and DRAM, and their split."""

import math
from typing import Annotated, Literal

from pydantic import Field

from hw.config import ArrayConfig
from hw.document import Record
from hw.errors import InputError

__all__ = ["ONE_CORE", "CoreGroup", "CoreSplit"]

CoreSplit = Literal["auto", "columns", "rows", "batch"]


class CoreGroup(Record):
    """``count`` cores of one ``ArrayConfig``, in step with each other but for ``batch``.

    Each core has its lanes, accumulators, vector unit and a weight bus of its own. Shared are DRAM and the two buffers,
    whose capacities do not grow with the cores. ``columns``: the cores take different column tiles of a GEMM. ``rows``:
    they take different folds over K, and a tree of adders reduces their partial sums, over links of ``link_bits`` per
    cycle from core to core. ``auto``: whatever mixture of both takes the fewest cycles, GEMM by GEMM. ``batch``: they
    take different sequences, each at its own pace through all ops, and never wait for each other (``sim.apart``).
    """

    count: Annotated[int, Field(ge=1, le=1024)] = Field(
        1, description="arrays side by side behind the same two buffers and the same DRAM"
    )
    split: CoreSplit = Field(
        "auto",
        description="what the cores share out: column tiles of a GEMM, folds over its rows of K, whatever mixture "
        "takes the fewest cycles, or the sequences of the batch",
    )
    link_bits: Annotated[int, Field(ge=1)] | None = Field(
        None, description="bits of partial sums per cycle from core to core; by default a result vector per cycle"
    )

    def check(self, array: ArrayConfig) -> None:
        """Refuse cores that the shared weight buffer cannot feed.

        Raises:
            InputError: with what is needed and what is there.
        """
        needed = 2 * self.count * array.tile_bytes
        if array.weight_buffer_bytes < needed:
            raise InputError(
                f"cores: weight_buffer_bytes must hold two tiles for each of {self.count} cores ({needed} bytes), "
                f"not {array.weight_buffer_bytes} of array {array.name!r}"
            )

    def fed(self, array: ArrayConfig) -> ArrayConfig:
        """``array`` with a weight buffer that feeds the cores, grown where wider weights need it."""
        needed = 2 * self.count * array.tile_bytes
        return array.model_copy(update={"weight_buffer_bytes": max(array.weight_buffer_bytes, needed)})

    def grids(self, column_tiles: int, folds: int) -> list[tuple[int, int]]:
        """Ways to lay the cores over a GEMM, (along columns, along folds); none with cores that never work."""
        match self.split:
            case "batch":
                wanted = [(1, 1)]
            case "columns":
                wanted = [(self.count, 1)]
            case "rows":
                wanted = [(1, self.count)]
            case "auto":
                wanted = [(along, self.count // along) for along in range(1, self.count + 1)]
        return list(dict.fromkeys((_evenly(column_tiles, a), _evenly(folds, b)) for a, b in wanted))

    def result_interval(self, array: ArrayConfig, fold_cores: int) -> int:
        """Cycles from one vector of partial sums to the next: 1, or what it takes over a link where cores reduce."""
        if fold_cores == 1 or self.link_bits is None:
            return 1
        return math.ceil(array.cols * array.accumulator_bits / self.link_bits)

    def reduction_latency(self, fold_cores: int) -> int:
        """Registered levels of the adder tree between ``fold_cores`` cores, cycles."""
        return (fold_cores - 1).bit_length()


ONE_CORE = CoreGroup()


def _evenly(pieces: int, cores: int) -> int:
    """The fewest cores that finish ``pieces`` in as many rounds as ``cores`` would."""
    return math.ceil(pieces / math.ceil(pieces / cores))
