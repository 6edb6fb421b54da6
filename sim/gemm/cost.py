"""One GEMM on the cores with their buffers and their DRAM: the mapping chosen, cycles by cause, action counts."""

import math
from functools import lru_cache
from typing import NamedTuple

from hw.config import ArrayConfig
from hw.formats import DIGIT_STAGES
from sim.cores import ONE_CORE, CoreGroup
from sim.counts import ActionCounts
from sim.gemm.schedule import (
    GemmJob,
    Schedule,
    candidates,
    forget_schedules,
    matrix_bytes,
    outputs_on_chip,
    step_mapping,
)
from sim.memory import MemoryConfig
from sim.result import CAUSES

__all__ = ["Cost", "GemmCosts", "forget_gemms", "gemm_cost"]

_CYCLE_TOLERANCE = 0.01  # of the fewest cycles: how much slower a schedule may be for less DRAM traffic
_KEPT = 4096  # GEMMs of all machines
_UNUSED = {  # fields of an array on which no GEMM depends: names, the vector unit, what ``sim.machine.ports`` adds
    "name", "description", "weight_cells", "activation_cells", "accumulator_cells", "vector_lanes", "vector_units",
    "attention_lanes", "vector_bus_bits", "weight_port_bits", "activation_port_bits", "accumulator_port_bits",
}  # fmt: skip


class Cost(NamedTuple):
    """What one op takes. ``causes`` has the keys of ``sim.result.CAUSES`` and sums to ``cycles``."""

    cycles: int
    causes: dict[str, int]
    counts: ActionCounts
    macs: int = 0
    tried: dict[str, int] | None = None  # cycles of one GEMM under each mapping that was tried, the chosen one first

    def scaled(self, times: int) -> "Cost":
        """``times`` identical ops, run sequentially."""
        causes = {cause: cycles * times for cause, cycles in self.causes.items()}
        return Cost(self.cycles * times, causes, self.counts.scaled(times), self.macs * times, self.tried)

    def bound_by(self, cause: str) -> "Cost":
        """The same op where what works beside the array takes all of ``cycles``: every cycle but the ideal is its.

        More of anything else would make the op no faster.
        """
        ideal = self.causes["ideal"]
        return self._replace(causes=dict.fromkeys(CAUSES, 0) | {"ideal": ideal, cause: self.cycles - ideal})

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        """One op after another."""
        causes = {cause: self.causes[cause] + other.causes[cause] for cause in CAUSES}
        return Cost(self.cycles + other.cycles, causes, self.counts + other.counts, self.macs + other.macs)


class GemmCosts:
    """Costs of GEMMs on one machine, each found once in this process, whatever else differs between two runs on it."""

    def __init__(self, array: ArrayConfig, memory: MemoryConfig, cores: CoreGroup) -> None:
        self.array, self.memory, self.cores = array, memory, cores
        parts = (array.model_dump_json(exclude=_UNUSED), memory.model_dump_json(), cores.model_dump_json())
        self._key = "\n".join(parts)

    def of(self, job: GemmJob) -> "Cost":
        """``gemm_cost`` of ``job``."""
        return _found(self, job)

    def __eq__(self, other: object) -> bool:
        """Of a machine whose GEMMs cost the same."""
        return isinstance(other, GemmCosts) and self._key == other._key

    def __hash__(self) -> int:
        """Of what GEMMs depend on."""
        return hash(self._key)


@lru_cache(maxsize=_KEPT)
def _found(costs: GemmCosts, job: GemmJob) -> Cost:
    return gemm_cost(job, costs.array, costs.memory, costs.cores)


def forget_gemms() -> None:
    """Forget every GEMM, those of earlier processes too, so that the next one is timed honestly."""
    forget_schedules()
    _found.cache_clear()


def gemm_cost(job: GemmJob, array: ArrayConfig, memory: MemoryConfig, cores: CoreGroup = ONE_CORE) -> Cost:
    """Cycles, causes and counts of one GEMM under the best of the mappings that ``sim.gemm.schedule`` enumerates.

    Among those within 1 % of the fewest cycles, the one with the least DRAM traffic wins: energy is worth more than
    the last cycles.

    Raises:
        InputError: K too long for the accumulator, or a fixed mapping that cannot be.
    """
    array.check_k(job.gemm.k, "GEMM", job.planes if job.digits else 0)
    schedules = [step_mapping(job, mapping, array, memory, cores) for mapping in candidates(job, array, cores)]
    fewest = min(schedule.cycles for schedule in schedules)
    near = [schedule for schedule in schedules if schedule.cycles <= (1 + _CYCLE_TOLERANCE) * fewest]
    counted = [(_counts(job, schedule, array), schedule) for schedule in near]
    counts, best = min(counted, key=lambda pair: (_dram_bits(pair[0]), pair[1].cycles))
    causes = dict.fromkeys(CAUSES, 0) | {
        "ideal": best.ideal,
        "fill_drain": best.fill_drain,
        "weight_stall": best.weight_stall,
        "dram_stall": best.dram_stall,
        "output_stall": best.output_stall,
    }
    tried = {schedule.mapping.label(): schedule.cycles for schedule in (best, *schedules)}
    return Cost(best.cycles, causes, counts, job.macs, tried)


def _open_stages(job: GemmJob) -> int:
    """Additions that weigh one total of each plane of digits."""
    return sum(plane in stage.planes for plane in range(job.planes) for stage in DIGIT_STAGES) if job.digits else 0


def _dram_bits(counts: ActionCounts) -> float:
    return counts.dram_read_bits + counts.dram_write_bits


def _counts(job: GemmJob, schedule: Schedule, array: ArrayConfig) -> ActionCounts:
    """Actions of a GEMM. Every array operand is counted dense and active; the caller weighs activity.

    A partial sum that another core adds is read from its accumulators and written beside the adder.
    """
    m, n, _ = job.gemm
    columns, folds, fold_cores = math.ceil(n / array.cols), job.folds(array.rows), schedule.mapping.fold_cores
    grid = array.structure.outputs_stationary
    # vectors that enter, summed over the cores: one per token, or one of a token tile per position of K
    issues = columns * (schedule.weight_streams * sum(job.positions(array.rows)) if grid else m * folds)
    operands = m * sum(job.columns) * columns if grid else issues * array.rows
    sums = 0 if grid else issues * array.cols  # a processing element keeps its sum in a register of its own
    matrix_bits = 8 * matrix_bytes(job, array)
    beats = columns * (folds * array.weight_beats + array.scale_beats)
    streamed_bits = beats * schedule.weight_streams * array.weight_bus_bits
    fetch_bits = m * job.plane_folds(array.rows) * array.rows * array.activation_bits
    input_bits = fetch_bits * schedule.input_fetches
    output_bits = m * n * job.output_bits
    spilled_bits = 0 if outputs_on_chip(job, array) else m * columns * array.cols * job.output_bits
    macs = job.macs
    reductions = m * columns * array.cols * (fold_cores - 1)
    first_writes = 0 if grid else m * columns * fold_cores  # nothing is there to be read before
    return ActionCounts(
        array_macs=macs,
        array_macs_active=macs,
        array_macs_padding=issues * array.lanes - macs,
        digit_additions=issues // job.planes * array.cols * _open_stages(job),
        accumulations=issues * (array.lanes if grid else array.cols),
        result_vectors=m * columns,
        reductions=reductions,
        scale_multiplies=0 if array.arithmetic.output_scales == 0 else m * n * job.planes,
        weight_buffer_read_bits=streamed_bits,
        weight_buffer_write_bits=matrix_bits * schedule.weight_fetches,
        activation_buffer_read_bits=operands * array.activation_bits + (output_bits if spilled_bits else 0),
        activation_buffer_write_bits=input_bits + output_bits,
        accumulator_read_bits=(sums - first_writes * array.cols + reductions) * array.accumulator_bits,
        accumulator_write_bits=(sums + reductions) * array.accumulator_bits,
        dram_read_bits=matrix_bits * schedule.weight_fetches + input_bits,
        dram_write_bits=spilled_bits,
    )
