"""One GEMM on the array with its buffers and its DRAM: the token tiling chosen, cycles by cause, action counts."""

import math
from functools import lru_cache
from typing import NamedTuple

from hw.config import ArrayConfig
from quant.shapes import Gemm
from sim.core import TICKS_PER_CYCLE, step_tiles
from sim.counts import ActionCounts
from sim.memory import MemoryConfig
from sim.result import CAUSES

__all__ = ["Cost", "GemmJob", "forget_schedules", "gemm_cost", "stays_on_chip"]

_CYCLE_TOLERANCE = 0.01  # of the fewest cycles: how much slower a schedule may be for less DRAM traffic


class Cost(NamedTuple):
    """What one op takes. ``causes`` has the keys of ``sim.result.CAUSES`` and sums to ``cycles``."""

    cycles: int
    causes: dict[str, int]
    counts: ActionCounts
    macs: int = 0

    def scaled(self, times: int) -> "Cost":
        """``times`` identical ops, one after another."""
        causes = {cause: cycles * times for cause, cycles in self.causes.items()}
        return Cost(self.cycles * times, causes, self.counts.scaled(times), self.macs * times)

    def __add__(self, other: "Cost") -> "Cost":  # type: ignore[override]
        """One op after another."""
        causes = {cause: self.causes[cause] + other.causes[cause] for cause in CAUSES}
        return Cost(self.cycles + other.cycles, causes, self.counts + other.counts, self.macs + other.macs)


class GemmJob(NamedTuple):
    """A GEMM and what its operands look like outside the array."""

    gemm: Gemm
    planes: int = 1  # ternary planes: each streams its own tiles over the same activations
    group: int | None = None  # columns per partial sum: folds do not cross its border; None: one sum per row
    weight_dram_bits: float = 0.0  # bits of a stored weight; 0 = the array's own format
    inputs_on_chip: bool = False  # produced where they are used, whatever their size
    outputs_on_chip: bool = False
    output_bits: int = 16  # of a dequantized output
    weights_on_chip: bool = False  # they live in the weight buffer
    double_buffer: bool = True

    def folds(self, rows: int) -> int:
        """Weight tiles along K of one output column, all planes."""
        k = self.gemm.k
        full, rest = divmod(k, self.group or k)
        return self.planes * (full * math.ceil((self.group or k) / rows) + math.ceil(rest / rows))


class _Schedule(NamedTuple):
    """Descriptors that execute a GEMM and what the stepping of all of them gave."""

    cycles: int
    ideal: int
    fill_drain: int
    weight_stall: int
    dram_stall: int
    weight_streams: int  # of the whole matrix over the weight bus: once per token tile
    weight_fetches: int  # of the whole matrix from DRAM
    input_fetches: int  # of the whole input from DRAM


def stays_on_chip(tokens: int, width_bits: int, array: ArrayConfig) -> bool:
    """Whether a tensor of ``tokens`` x ``width_bits`` stays in the activation buffer between two ops.

    Half of the buffer is for the input of an op and half for its output; a larger tensor goes to DRAM and back.
    """
    return tokens * width_bits <= array.activation_buffer_bytes * 8 // 2


def gemm_cost(job: GemmJob, array: ArrayConfig, memory: MemoryConfig) -> Cost:
    """Cycles, causes and counts of one GEMM, for the best descriptor size.

    Candidates: the whole GEMM in one descriptor (token tiles of ``array.token_tile``), and descriptors of as many
    tokens as let their input slab (tokens x K) stay in the activation buffer, so that activations are not fetched
    again for every column tile. Among those within 1 % of the fewest cycles, the one with the least DRAM traffic wins:
    energy is worth more than the last cycles.

    Raises:
        InputError: K too long for the accumulator.
    """
    array.check_k(job.gemm.k, "GEMM")
    schedules = [_schedule(job, tokens, array, memory) for tokens in _descriptor_sizes(job, array)]
    fewest = min(schedule.cycles for schedule in schedules)
    near = [schedule for schedule in schedules if schedule.cycles <= (1 + _CYCLE_TOLERANCE) * fewest]
    best = min(near, key=lambda schedule: (_dram_bits(_counts(job, schedule, array)), schedule.cycles))
    causes = dict.fromkeys(CAUSES, 0) | {
        "ideal": best.ideal,
        "fill_drain": best.fill_drain,
        "weight_stall": best.weight_stall,
        "dram_stall": best.dram_stall,
    }
    return Cost(best.cycles, causes, _counts(job, best, array), job.gemm.macs * job.planes)


def _descriptor_sizes(job: GemmJob, array: ArrayConfig) -> list[int]:
    """Tokens per descriptor that are worth trying."""
    m, k = job.gemm.m, job.gemm.k
    sizes = [m]
    if not _inputs_on_chip(job, array):
        token_bits = k * array.activation_bits + 2 * array.cols * job.output_bits  # outputs leave through two buffers
        fitting = array.activation_buffer_bytes * 8 // token_bits
        if 1 <= fitting < min(m, array.token_tile):
            sizes.append(math.ceil(m / math.ceil(m / fitting)))  # evenly, so that no short one waits for weights
    return sizes


def _inputs_on_chip(job: GemmJob, array: ArrayConfig) -> bool:
    return job.inputs_on_chip or stays_on_chip(job.gemm.m, job.gemm.k * array.activation_bits, array)


def _outputs_on_chip(job: GemmJob, array: ArrayConfig) -> bool:
    return job.outputs_on_chip or stays_on_chip(job.gemm.m, job.gemm.n * job.output_bits, array)


def _schedule(job: GemmJob, descriptor_tokens: int, array: ArrayConfig, memory: MemoryConfig) -> _Schedule:
    """Step the distinct descriptors: the first, those like it, and the last, shorter one."""
    m, n, k = job.gemm
    columns, folds = math.ceil(n / array.cols), job.folds(array.rows)
    weight_bits = job.weight_dram_bits or array.weight_bits
    tile_bytes = 0 if job.weights_on_chip else math.ceil(array.lanes * weight_bits / 8)
    weights_stay = columns * folds * tile_bytes <= array.weight_buffer_bytes
    token_tile = min(descriptor_tokens, array.token_tile)
    fetch_inputs = not _inputs_on_chip(job, array)
    slab_bits = token_tile * (k * array.activation_bits + 2 * array.cols * job.output_bits)
    inputs_stay = not fetch_inputs or slab_bits <= array.activation_buffer_bytes * 8
    buffer_tiles = min(array.weight_buffer_bytes // max(tile_bytes, array.tile_bytes), columns * folds)

    def step(tokens: int, weight_bytes: int) -> list[int]:
        return _step(
            tokens,
            array.token_tile,
            columns,
            folds,
            array.weight_beats,
            array.pipeline_latency,
            buffer_tiles,
            round(TICKS_PER_CYCLE / memory.bytes_per_cycle(array.clock_hz)),
            round(memory.latency_s * array.clock_hz * TICKS_PER_CYCLE),
            weight_bytes,
            weights_stay,
            array.rows * array.activation_bits // 8 if fetch_inputs else 0,
            inputs_stay,
            0 if _outputs_on_chip(job, array) else array.cols * job.output_bits // 8,
            job.double_buffer,
        )

    full, rest = divmod(m, descriptor_tokens)
    again = 0 if weights_stay else tile_bytes
    parts = [(1, step(descriptor_tokens, tile_bytes)), (full - 1, step(descriptor_tokens, again))]
    if rest:
        parts.append((1, step(rest, again)))
    totals = [sum(times * part[i] for times, part in parts) for i in range(5)]
    descriptors = full + (rest > 0)
    token_tiles = full * math.ceil(descriptor_tokens / array.token_tile) + math.ceil(rest / array.token_tile)
    return _Schedule(
        cycles=totals[0] + descriptors,  # plus the edge that accepts each descriptor
        ideal=totals[1],
        fill_drain=totals[2] + descriptors,
        weight_stall=totals[3],
        dram_stall=totals[4],
        weight_streams=token_tiles,
        weight_fetches=0 if job.weights_on_chip else 1 if weights_stay else token_tiles,
        input_fetches=0 if not fetch_inputs else 1 if inputs_stay else columns,
    )


def _dram_bits(counts: ActionCounts) -> float:
    return counts.dram_read_bits + counts.dram_write_bits


@lru_cache(maxsize=65536)
def _step(*arguments: int) -> list[int]:
    """``step_tiles``, once per distinct set of arguments."""
    return [int(value) for value in step_tiles(*arguments)]


def forget_schedules() -> None:
    """Forget every stepped GEMM, so that the next one is timed honestly."""
    _step.cache_clear()


def _counts(job: GemmJob, schedule: _Schedule, array: ArrayConfig) -> ActionCounts:
    """Actions of a GEMM. Every array operand is counted dense and active; the caller weighs activity."""
    m, n, k = job.gemm
    columns, folds = math.ceil(n / array.cols), job.folds(array.rows)
    issues = m * columns * folds
    weight_bits = job.weight_dram_bits or array.weight_bits
    matrix_bits = columns * folds * math.ceil(array.lanes * weight_bits / 8) * 8
    streamed_bits = columns * folds * schedule.weight_streams * array.weight_beats * array.weight_bus_bits
    input_bits = m * math.ceil(k / array.rows) * array.rows * array.activation_bits * schedule.input_fetches
    output_bits = m * n * job.output_bits
    spilled_bits = 0 if _outputs_on_chip(job, array) else m * columns * array.cols * job.output_bits
    macs = job.gemm.macs * job.planes
    return ActionCounts(
        array_macs=macs,
        array_macs_active=macs,
        array_macs_padding=issues * array.lanes - macs,
        accumulations=issues * array.cols,
        scale_multiplies=0 if array.mac == "fp16" else m * n * job.planes,
        weight_buffer_read_bits=streamed_bits,
        weight_buffer_write_bits=matrix_bits * schedule.weight_fetches,
        activation_buffer_read_bits=issues * array.rows * array.activation_bits + (output_bits if spilled_bits else 0),
        activation_buffer_write_bits=input_bits + output_bits,
        accumulator_read_bits=(issues - m * columns) * array.cols * array.accumulator_bits,
        accumulator_write_bits=issues * array.cols * array.accumulator_bits,
        dram_read_bits=matrix_bits * schedule.weight_fetches + input_bits,
        dram_write_bits=spilled_bits,
    )
