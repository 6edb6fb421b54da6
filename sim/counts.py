"""``ActionCounts``: how often each thing that costs energy happened; ``energy/`` joins them with costs."""

import operator
from typing import NamedTuple

__all__ = ["ActionCounts"]


class ActionCounts(NamedTuple):
    """Actions of one op or of a sum of ops. Unit: events, or bits where the name says so.

    ``array_macs`` are useful ones; lanes that an edge tile leaves idle are in ``array_macs_padding``. ``active`` counts
    weigh each MAC by the toggling of its operand relative to random operands (0.5 toggles per bit and cycle), so random
    dense data gives ``array_macs_active == array_macs``.
    """

    array_macs: float = 0.0
    array_macs_active: float = 0.0
    array_macs_padding: float = 0.0
    accumulations: float = 0.0  # read-add-write of one partial sum in the accumulator buffer
    result_vectors: float = 0.0  # of one token and ``cols`` outputs, that leave the array
    reductions: float = 0.0  # additions of two cores' partial sums
    vector_macs: float = (
        0.0  # multiply-accumulates on the vector unit (attention products, lm_head where it runs there)
    )
    vector_ops: float = (
        0.0  # element operations on the vector unit (norm, rope, softmax, activation, residual, quantize)
    )
    host_macs: float = 0.0
    host_ops: float = 0.0  # element operations
    host_link_bits: float = 0.0  # activations and results to and from the host
    scale_multiplies: float = 0.0  # dequantize and requantize multiplies, group scales included
    weight_buffer_read_bits: float = 0.0
    weight_buffer_write_bits: float = 0.0
    activation_buffer_read_bits: float = 0.0
    activation_buffer_write_bits: float = 0.0
    accumulator_read_bits: float = 0.0
    accumulator_write_bits: float = 0.0
    dram_read_bits: float = 0.0
    dram_write_bits: float = 0.0
    digit_additions: float = 0.0  # of the adders, open for some planes, that weigh a column's total by 3**plane
    vector_float_macs: float = 0.0  # float16 products on the vector unit, summed in float32 (low-rank corrections)

    @property
    def vector_work(self) -> float:
        """Operations of the vector unit: each takes a lane for a cycle."""
        return self.vector_macs + self.vector_float_macs + self.vector_ops + self.scale_multiplies

    def __add__(self, other: "ActionCounts") -> "ActionCounts":  # type: ignore[override]
        """Actions of two ops."""
        return tuple.__new__(ActionCounts, map(operator.add, self, other))

    def scaled(self, factor: float) -> "ActionCounts":
        """Counts of ``factor`` identical ops."""
        return tuple.__new__(ActionCounts, [value * factor for value in self])
