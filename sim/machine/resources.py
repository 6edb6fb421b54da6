"""``Resources``: cores, vector unit, DRAM and host as a run uses them, and the time that work takes on each."""

import math

import numpy as np

from hw.config import ArrayConfig
from sim.cores import ONE_CORE, CoreGroup
from sim.counts import ActionCounts
from sim.execution import Execution
from sim.gemm.cost import Cost, GemmCosts
from sim.gemm.schedule import GemmJob
from sim.memory import MemoryConfig
from sim.result import CAUSES
from sim.trace.ops import AttentionOp, Formats, LinearOp, Op, VectorOp

__all__ = ["Resources"]


class Resources:
    """Cores with their vector units, buffers, DRAM and the host beside them.

    On a ternary array everything whose operands are not trits (lm_head; attention products, unless K and V are digits)
    runs on the vector unit; the int8 and fp16 arrays run it themselves.
    """

    def __init__(
        self,
        array: ArrayConfig,
        memory: MemoryConfig,
        formats: Formats,
        execution: Execution | None = None,
        cores: CoreGroup = ONE_CORE,
    ) -> None:
        """Fix the hardware, how it is used, and the formats of what is stored beside the decoder's weights.

        Raises:
            InputError: cores that the weight buffer cannot feed.
        """
        cores.check(array)
        self.array = array
        self.dense_array = array.dense_array
        self.cores = cores
        self.execution = execution or Execution()
        self.memory = memory
        self.formats = formats
        self.gemms = GemmCosts(array, memory, cores)
        self.dense_gemms = GemmCosts(self.dense_array, memory, cores)
        self._bytes_per_cycle = memory.bytes_per_cycle(array.clock_hz)
        units = array.vector_units * cores.count
        self.vector_lanes = array.vector_lanes * units  # elements are independent: they spread over all cores
        self.attention_lanes = array.attention_lanes * cores.count or self.vector_lanes
        self._vector_bus_bits = array.vector_bus_bits * cores.count if array.vector_bus_bits else math.inf
        self.latency_cycles = math.floor(round(memory.latency_s * array.clock_hz, 6))  # whole ones to a first word
        self._latency_cycles = math.ceil(memory.latency_s * array.clock_hz)

    def place(self, op: Op) -> str:
        """Where an op runs: "array", "vector", "host" or "dram"."""
        if op.name in self.execution.placement:
            return self.execution.placement[op.name]
        dense = "array" if self.array.arithmetic.dense_mac and self.execution.dense_products == "array" else "vector"
        match op:
            case LinearOp():
                return "array" if op.statistics is not None else dense
            case AttentionOp():
                return "vector" if op.name == "softmax" else self._attention_products(dense)
            case VectorOp() if op.operations:
                return "vector"
            case _:
                return "dram"

    def _attention_products(self, dense: str) -> str:
        """Where scores and values are made; ``dense``: where other products of dense operands are."""
        if self.array.arithmetic.stores_trits:
            return "array" if self.formats.digits else "vector"
        return dense if self.execution.attention == "auto" else self.execution.attention

    def executed(self, job: GemmJob) -> GemmJob:
        """``job`` with the choices of this run's execution."""
        execution = self.execution
        return job._replace(
            weights_on_chip=execution.on_chip,
            double_buffer=execution.double_buffer,
            order=None if execution.mapping == "auto" else execution.mapping,
            descriptor_tokens=execution.descriptor_tokens,
            prefetch_rounds=execution.prefetch_tiles,
        )

    def dram_bits(self, bits: np.ndarray | float) -> np.ndarray | float:
        """DRAM traffic of weights, KV cache or embedding of so many stored bits: none where they live on chip."""
        return bits * (not self.execution.on_chip)

    def on_host(self, macs, operations, link_bits, dram_bits) -> Cost:
        """Cost of sequential steps, each argument a number or one per step; work, link and DRAM overlap."""
        host = self.execution.host
        macs, operations, link_bits, dram_bits = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(value, np.float64)) for value in (macs, operations, link_bits, dram_bits))
        )
        work_s = macs / host.macs_per_s + operations / host.operations_per_s
        busy_s = host.latency_s + np.maximum(work_s, link_bits / 8 / host.link_bytes_per_s)
        busy = np.ceil(np.round(busy_s * self.array.clock_hz, 6)).astype(np.int64)  # not for a float's last bit
        dram = np.ceil(dram_bits / 8 / self._bytes_per_cycle).astype(np.int64)
        cycles, causes = _longest({"host": busy, "dram_stall": dram})
        counts = ActionCounts(
            host_macs=float(macs.sum()),
            host_ops=float(operations.sum()),
            host_link_bits=float(link_bits.sum()),
            dram_read_bits=float(dram_bits.sum()),
        )
        return Cost(cycles, causes, counts, int(macs.sum()))

    def dram_cycles(self, counts: ActionCounts) -> float:
        """Cycles in which DRAM moves what ``counts`` say."""
        return (counts.dram_read_bits + self.memory.write_cost * counts.dram_write_bits) / 8 / self._bytes_per_cycle

    def vector_cost(
        self,
        counts: ActionCounts,
        rows: int | None = None,
        lanes: int | None = None,
        bus_bits: np.ndarray | float = 0.0,
    ) -> Cost:
        """Cost of sequential steps; a field of ``counts`` holds an array of one value per step, or a single step's.

        Vector unit, its bus and DRAM overlap; the first word of a read is waited for. ``rows``: tokens whose elements
        depend on each other, so that a vector unit takes whole ones; None: elements spread over all. ``lanes``: that
        work, by default those of the vector units. ``bus_bits``: weights, K or V that they take.
        """
        units = self.array.vector_units * self.cores.count if self.array.vector_units > 1 else 1
        busiest = 1.0 if rows is None else units * math.ceil(rows / units) / rows  # share of the unit with most rows
        work, read = counts.vector_work, counts.dram_read_bits
        bits = read + self.memory.write_cost * counts.dram_write_bits
        if isinstance(work, np.ndarray) or isinstance(bits, np.ndarray) or isinstance(bus_bits, np.ndarray):
            waits = np.where(np.asarray(read) > 0, self._latency_cycles, 0)
            cycles, causes = _longest(
                {
                    "vector": _whole(np.asarray(work) * busiest / (lanes or self.vector_lanes)),
                    "weight_stall": _whole(np.asarray(bus_bits) / self._vector_bus_bits),
                    "dram_stall": _whole(np.asarray(bits) / 8 / self._bytes_per_cycle) + waits,
                }
            )
            return Cost(cycles, causes, ActionCounts(*map(_over_steps, counts)))
        units_cycles = {
            "vector": math.ceil(work * busiest / (lanes or self.vector_lanes)),
            "weight_stall": math.ceil(bus_bits / self._vector_bus_bits),
            "dram_stall": math.ceil(bits / 8 / self._bytes_per_cycle) + (self._latency_cycles if read > 0 else 0),
        }
        longest = max(units_cycles, key=units_cycles.__getitem__)
        causes = dict.fromkeys(CAUSES, 0) | {longest: units_cycles[longest]}
        return Cost(units_cycles[longest], causes, ActionCounts(*map(float, counts)))

    def beside_cycles(self, work: float, bus_bits: float) -> dict[str, int]:
        """Cycles of the vector units beside the array: ``work`` of theirs, and their bus for what comes for it."""
        return {
            "vector": math.ceil(work / self.vector_lanes),
            "weight_stall": math.ceil(bus_bits / self._vector_bus_bits),
        }


def _longest(units: dict[str, np.ndarray]) -> tuple[int, dict[str, int]]:
    """Cycles of steps in which units work side by side, all of a step charged to that which takes longest.

    ``units``: cause -> cycles of each step; of equals the first.
    """
    cycles = np.stack(np.broadcast_arrays(*(np.atleast_1d(np.asarray(one, np.int64)) for one in units.values())))
    longest = cycles.argmax(axis=0)
    causes = {cause: int(cycles[number][longest == number].sum()) for number, cause in enumerate(units)}
    return sum(causes.values()), dict.fromkeys(CAUSES, 0) | causes


def _whole(cycles: np.ndarray) -> np.ndarray:
    return np.ceil(cycles).astype(np.int64)


def _over_steps(value: float | np.ndarray) -> float:
    return float(value.sum()) if isinstance(value, np.ndarray) else float(value)
