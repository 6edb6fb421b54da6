"""Ports of the buffers: what array, vector units, bus and DRAM want of one buffer, at its bits per cycle."""

import math

from hw.config import ArrayConfig
from sim.counts import ActionCounts
from sim.gemm.cost import Cost

__all__ = ["port_cycles", "through_ports"]


def port_cycles(array: ArrayConfig, counts: ActionCounts, cores: int) -> dict[str, float]:
    """Buffer -> cycles in which its port moves all bits of ``counts``; buffers whose port is not limited are left out.

    The two buffers are shared by the cores, accumulators are each core's own.
    """
    wanted = {
        "weight": counts.weight_buffer_read_bits + counts.weight_buffer_write_bits,
        "activation": counts.activation_buffer_read_bits + counts.activation_buffer_write_bits,
        "accumulator": (counts.accumulator_read_bits + counts.accumulator_write_bits) / cores,
    }
    ports = {buffer: getattr(array, f"{buffer}_port_bits") for buffer in wanted}
    return {buffer: bits / ports[buffer] for buffer, bits in wanted.items() if ports[buffer] is not None}


def through_ports(cost: Cost, array: ArrayConfig, cores: int, executions: int) -> Cost:
    """``cost`` of so many executions of an op, each at least as long as every port is busy in it.

    A port serves whoever asks without losing a cycle, so that this is the least that conflicts cost. Where it takes
    longest, every cycle but the ideal is charged to it.
    """
    busiest = max(port_cycles(array, cost.counts, cores).values(), default=0.0)
    cycles = math.ceil(busiest / executions) * executions
    if cycles <= cost.cycles:
        return cost
    return cost._replace(cycles=cycles).bound_by("port_stall")
