"""What a linear costs: on the array with its dequantization on the vector unit beside it, or wherever it is placed."""

import math

from hw.formats import INT8_BITS
from sim.counts import ActionCounts
from sim.gemm.cost import Cost
from sim.gemm.schedule import GemmJob
from sim.machine.resources import Resources
from sim.result import Statistics
from sim.trace.ops import LinearOp
from sim.trace.statistics import RANDOM_TOGGLE_RATE, assumed_statistics

__all__ = ["linear_cost"]


def linear_cost(resources: Resources, op: LinearOp, head_start: int = 0) -> Cost:
    """A weight GEMM, its dequantization streamed through the vector unit while the array works.

    On the array it finds the tiles that DRAM fetched in the ``head_start`` cycles before it.
    """
    place = resources.place(op)
    if place == "host":
        return _on_the_host(resources, op).scaled(op.count)
    if place == "vector":
        return _on_vector_unit(resources, op).scaled(op.count)
    array, arithmetic, gemms = resources.array, resources.array.arithmetic, resources.gemms
    planes, covered, group = (op.planes, op.plane_columns, op.group) if arithmetic.stores_trits else (1, (), None)
    if op.statistics is None:  # dense weights of 8 or 16 bits
        array, gemms = resources.dense_array, resources.dense_gemms
        planes, covered = arithmetic.dense_passes, ()
    requantizes = resources.array.results == "int8"  # in the array: no multiply of a scale is left to the vector unit
    output_bits = INT8_BITS if requantizes else resources.formats.residual_bits
    job = resources.executed(
        GemmJob(
            op.gemm,
            planes=planes,
            digits=op.digits,
            group=group,
            head_start=head_start,
            output_bits=output_bits,
            plane_columns=covered,
        )
    )
    cost = gemms.of(job)
    toggles = _operand_toggles(resources, op.statistics)
    m, n, k = op.gemm
    scales, offsets = array.arithmetic.output_scales, 0
    if scales is None:
        scales, offsets = op.scale_groups if op.digits else op.scales, op.offset_groups
    beside = _beside(resources, op)
    counts = beside + cost.counts._replace(
        array_macs_active=cost.counts.array_macs * toggles / RANDOM_TOGGLE_RATE,
        scale_multiplies=m * n * (scales + offsets),
        vector_ops=m * k if offsets and not resources.array.sum_of_x else 0,
    )
    work = counts.vector_work - (counts.scale_multiplies if requantizes else 0)
    units = resources.beside_cycles(work, beside.weight_buffer_read_bits)
    slowest = max(units, key=units.__getitem__)
    busy = max(cost.cycles, units[slowest])
    dram_idle = max(0.0, busy - resources.dram_cycles(cost.counts))
    waits = max(0, math.ceil(resources.dram_cycles(beside) - dram_idle))
    beside_array = Cost(busy + waits, cost.causes, counts, cost.macs, cost.tried)
    if busy + waits > cost.cycles:
        beside_array = beside_array.bound_by("dram_stall" if waits else slowest)
    return beside_array.scaled(op.count)


def _beside(resources: Resources, op: LinearOp) -> ActionCounts:
    """Work of the vector unit for one linear: scales and offsets, non-ternary weights, a gather.

    They come from DRAM once per token tile, in cycles that the planes leave idle or after them; scales that an array
    takes with its weights are counted there. Gathering permuted inputs is an operation each. Dense arrays multiply
    whole weights.
    """
    array = resources.array
    if not array.arithmetic.stores_trits:
        return ActionCounts()
    m, _, k = op.gemm
    scales_are_weights = bool(array.group_exponent_bits or array.scale_bits)
    bits = (op.side_bits + (0 if scales_are_weights else op.scale_bits)) * math.ceil(m / array.token_tile)
    operand_bits = op.int8_macs * resources.formats.activation_bits + op.float_macs * resources.formats.residual_bits
    return ActionCounts(
        vector_macs=m * op.int8_macs,
        vector_float_macs=m * op.float_macs,
        vector_ops=m * k * op.permuted,
        weight_buffer_write_bits=resources.dram_bits(bits),
        weight_buffer_read_bits=bits,
        activation_buffer_read_bits=m * operand_bits,
        dram_read_bits=resources.dram_bits(bits),
    )


def _operand_toggles(resources: Resources, statistics: Statistics | None) -> float:
    """Toggle rate of the operand that a lane adds or multiplies."""
    if statistics is None:
        return RANDOM_TOGGLE_RATE
    if not resources.array.arithmetic.stores_trits:
        return statistics.input_toggle_rate
    if resources.array.structure.outputs_stationary and not statistics.measured:  # every issue brings new trits
        return assumed_statistics("decode", statistics.zero_fraction).toggle_rate
    return statistics.toggle_rate


def _weight_bits(resources: Resources, op: LinearOp) -> float:
    """Stored bits of one weight of a linear that does not run on the array."""
    return resources.formats.head_bits if op.statistics is None else resources.array.weight_bits * op.passes


def _on_vector_unit(resources: Resources, op: LinearOp) -> Cost:
    """Weights in their own format, each read from DRAM once per token tile and used for all its tokens."""
    gemm = op.gemm
    bits = gemm.n * gemm.k * _weight_bits(resources, op) * math.ceil(gemm.m / resources.array.token_tile)
    outputs = gemm.m * gemm.n
    counts = ActionCounts(
        vector_macs=gemm.macs,
        scale_multiplies=outputs,
        weight_buffer_write_bits=resources.dram_bits(bits),
        weight_buffer_read_bits=bits,
        activation_buffer_read_bits=gemm.macs * resources.formats.residual_bits,
        activation_buffer_write_bits=outputs * resources.formats.residual_bits,
        dram_read_bits=resources.dram_bits(bits),
    )
    counts += _beside(resources, op)
    return resources.vector_cost(counts, bus_bits=counts.weight_buffer_read_bits)._replace(macs=gemm.macs)


def _on_the_host(resources: Resources, op: LinearOp) -> Cost:
    """Inputs and outputs over the link, weights from DRAM; a float product is two operations."""
    m, n, k = op.gemm
    link_bits = m * (k * resources.formats.activation_bits + n * resources.formats.residual_bits)
    beside = _beside(resources, op)
    macs, operations = op.gemm.macs + beside.vector_macs, 2 * beside.vector_float_macs + beside.vector_ops
    weights = resources.dram_bits(n * k * _weight_bits(resources, op) + op.scale_bits + op.side_bits)
    return resources.on_host(macs, operations, link_bits, weights)
