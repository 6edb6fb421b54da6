"""How a GEMM is cut into descriptors and laid over the cores: the mappings that are tried, and the cycles of each."""

import json
import math
from functools import lru_cache
from itertools import product
from typing import Literal, NamedTuple

import numpy as np

from hw.config import ArrayConfig
from hw.errors import InputError
from quant.shapes import Gemm
from sim.cores import CoreGroup
from sim.gemm.tiling import fold_count, fold_positions
from sim.kernels.causes import TileCounts
from sim.kernels.rounds import TICKS_PER_CYCLE, CoreTiming, DramFeed, Rounds
from sim.memory import MemoryConfig
from sim.store import close, recall, remember

__all__ = [
    "GemmJob",
    "LoopOrder",
    "Mapping",
    "Schedule",
    "candidates",
    "forget_schedules",
    "inputs_on_chip",
    "matrix_bytes",
    "outputs_on_chip",
    "stays_on_chip",
    "step_mapping",
    "stepped_schedules",
]

LoopOrder = Literal["tokens", "columns"]  # the outermost loop

_KEPT_STEPS = 4096  # so that a study of many machines does not grow


class GemmJob(NamedTuple):
    """A GEMM, what its operands look like outside the array, and what of its mapping is fixed."""

    gemm: Gemm
    planes: int = 1  # ternary planes: each streams its own tiles over the same activations
    group: int | None = None  # columns per partial sum: folds do not cross its border; None: one sum per row
    digits: bool = False  # the planes are digits: plane p weighs 3**p
    weight_dram_bits: float = 0.0  # bits of a stored weight; 0 = the array's own format
    tile_dram_bytes: int = 0  # of a tile in DRAM, where that is not the bits of its lanes
    inputs_on_chip: bool = False  # produced where they are used, whatever their size
    outputs_on_chip: bool = False
    output_bits: int = 16  # of a dequantized output
    weights_on_chip: bool = False  # they live in the weight buffer
    double_buffer: bool = True
    order: LoopOrder | None = None  # None: the best
    descriptor_tokens: int | None = None  # None: the best
    prefetch_rounds: int | None = None  # tiles per core that DRAM may be ahead of the bus; None: the whole buffer
    head_start: int = 0  # cycles before the GEMM in which its first tiles are already fetched
    plane_columns: tuple[int, ...] = ()  # positions of K that each plane runs over; none: all of them

    @property
    def columns(self) -> tuple[int, ...]:
        """Positions of K that each plane runs over."""
        return self.plane_columns or (self.gemm.k,) * self.planes

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all planes."""
        return self.gemm.m * self.gemm.n * sum(self.columns)

    def folds(self, rows: int) -> int:
        """Weight tiles along K of one output column, all planes."""
        return sum(fold_count(columns, rows, 1, self.group) for columns in self.columns)

    def plane_folds(self, rows: int) -> int:
        """Weight tiles along K of one output column and plane: as many parts of an input vector enter the array."""
        return fold_count(self.gemm.k, rows, 1, self.group)

    def positions(self, rows: int) -> tuple[int, ...]:
        """Positions of K in each of these tiles."""
        return sum((fold_positions(columns, rows, 1, self.group) for columns in self.columns), ())


class Mapping(NamedTuple):
    """One way to run a GEMM.

    ``tokens`` outermost: descriptors of ``tokens`` tokens and all columns; the weights come from DRAM again for every
    token tile unless all of them stay in the weight buffer. ``columns`` outermost: blocks of ``block`` column tiles,
    whose weights stay in the buffer while all tokens pass; the inputs come again for every block unless they stay on
    chip. Inside a descriptor the order is that of docs/architecture.md: token tile, column tile, fold, token, so that
    partial sums never leave the accumulators and a weight tile never leaves the array before its token tile is done.
    """

    order: LoopOrder
    tokens: int  # of a descriptor
    block: int  # column tiles of a descriptor
    column_cores: int = 1
    fold_cores: int = 1

    def label(self) -> str:
        """The mapping in words."""
        what = (
            f"{self.tokens} tokens" if self.order == "tokens" else f"{self.block} column tiles of {self.tokens} tokens"
        )
        cores = f", cores {self.column_cores} x {self.fold_cores}" if self.column_cores * self.fold_cores > 1 else ""
        return f"{self.order} outermost, {what} at a time{cores}"


class Schedule(NamedTuple):
    """What the stepping of all descriptors of one mapping gave."""

    mapping: Mapping
    cycles: int
    ideal: int
    fill_drain: int
    weight_stall: int
    dram_stall: int
    output_stall: int
    weight_streams: int  # of the whole matrix over the weight buses: once per token tile
    weight_fetches: int  # of the whole matrix from DRAM
    input_fetches: float  # of the whole input from DRAM
    dram_bytes: int  # that DRAM was stepped for


def stays_on_chip(tokens: int, width_bits: int, array: ArrayConfig) -> bool:
    """Whether a tensor of ``tokens`` x ``width_bits`` stays in the activation buffer between two ops.

    Half of the buffer is for the input of an op and half for its output; a larger tensor goes to DRAM and back.
    """
    return tokens * width_bits <= array.activation_buffer_bytes * 8 // 2


def inputs_on_chip(job: GemmJob, array: ArrayConfig) -> bool:
    """Whether the inputs are in the activation buffer before the GEMM starts."""
    return job.inputs_on_chip or stays_on_chip(job.gemm.m, job.gemm.k * array.activation_bits, array)


def outputs_on_chip(job: GemmJob, array: ArrayConfig) -> bool:
    """Whether the outputs stay in the activation buffer."""
    return job.outputs_on_chip or stays_on_chip(job.gemm.m, job.gemm.n * job.output_bits, array)


def candidates(job: GemmJob, array: ArrayConfig, cores: CoreGroup) -> list[Mapping]:
    """Mappings worth trying: descriptor sizes x loop orders x layouts of the cores.

    Descriptors: the whole GEMM (token tiles of ``array.token_tile``), and as many tokens as let their input slab
    (tokens x K) stay in the activation buffer. Columns outermost only where it can save weights from DRAM.

    Raises:
        InputError: a fixed loop order that the weight buffer does not allow.
    """
    columns, folds = math.ceil(job.gemm.n / array.cols), job.folds(array.rows)
    column_bytes = folds * _tile_bytes(job, array) + _scale_bytes(job, array)
    sizes = _descriptor_sizes(job, array)
    found = []
    for column_cores, fold_cores in cores.grids(columns, folds):
        if job.order != "columns":
            found += [Mapping("tokens", tokens, columns, column_cores, fold_cores) for tokens in sizes]
        fitting = array.weight_buffer_bytes // column_bytes if column_bytes else columns
        block = fitting // column_cores * column_cores
        if job.order == "columns" and not block:
            raise InputError(
                f"mapping 'columns': weight_buffer_bytes must hold {column_cores} column tiles of K = {job.gemm.k} "
                f"({column_cores * column_bytes} bytes), not {array.weight_buffer_bytes} of array {array.name!r}"
            )
        saves = job.gemm.m > array.token_tile and 0 < block < columns
        if job.order == "columns" or (job.order is None and saves):
            block = min(block, columns)
            found += [Mapping("columns", tokens, block, column_cores, fold_cores) for tokens in sizes]
    return found


def _descriptor_sizes(job: GemmJob, array: ArrayConfig) -> list[int]:
    """Tokens per descriptor that are worth trying."""
    m, k = job.gemm.m, job.gemm.k
    if job.descriptor_tokens:
        return [min(m, job.descriptor_tokens)]
    sizes = [m]
    if not inputs_on_chip(job, array):
        token_bits = k * array.activation_bits + 2 * array.cols * job.output_bits  # outputs leave through two buffers
        fitting = array.activation_buffer_bytes * 8 // token_bits
        if 1 <= fitting < min(m, array.token_tile):
            sizes.append(math.ceil(m / math.ceil(m / fitting)))  # evenly, so that no short one waits for weights
    return sizes


def _tile_bytes(job: GemmJob, array: ArrayConfig) -> int:
    """Bytes of a weight tile that come from DRAM, its columns' power-of-two scales among them."""
    if job.weights_on_chip:
        return 0
    weights = job.tile_dram_bytes or math.ceil(array.lanes * (job.weight_dram_bits or array.weight_bits) / 8)
    return weights + math.ceil(array.cols * array.group_exponent_bits / 8)


def _scale_bytes(job: GemmJob, array: ArrayConfig) -> int:
    """Bytes of a column tile's multipliers and offsets that come from DRAM, where the array requantizes."""
    return 0 if job.weights_on_chip else math.ceil(array.cols * array.scale_bits / 8)


def matrix_bytes(job: GemmJob, array: ArrayConfig) -> int:
    """Bytes of all weight tiles and scales of a GEMM, as they come from DRAM."""
    columns = math.ceil(job.gemm.n / array.cols)
    return columns * (job.folds(array.rows) * _tile_bytes(job, array) + _scale_bytes(job, array))


class _Descriptors(NamedTuple):
    """Descriptors of one kind, which take the same cycles."""

    count: int
    tokens: int
    block: int  # column tiles
    brings_weights: bool  # the first of its columns; else only those that did not stay in the weight buffer
    first: bool  # of the GEMM


def _descriptors(gemm_tokens: int, columns: int, mapping: Mapping) -> list[_Descriptors]:
    """(First, further ones, a smaller last one) along the tokens x the same along the columns, where there are any."""
    full, rest = divmod(gemm_tokens, mapping.tokens)
    full_blocks, rest_block = divmod(columns, mapping.block)
    along_tokens = [(1, mapping.tokens, True), (full - 1, mapping.tokens, False), (min(rest, 1), rest, False)]
    along_columns = [(1, mapping.block, True), (full_blocks - 1, mapping.block, False)]
    along_columns.append((min(rest_block, 1), rest_block, False))
    return [
        _Descriptors(times * blocks, tokens, block, first_tokens, first_tokens and first_block)
        for (times, tokens, first_tokens), (blocks, block, first_block) in product(along_tokens, along_columns)
        if times * blocks
    ]


def step_mapping(
    job: GemmJob, mapping: Mapping, array: ArrayConfig, memory: MemoryConfig, cores: CoreGroup
) -> Schedule:
    """Step one descriptor of each kind, and sum over all."""
    m, n, _ = job.gemm
    columns, folds = math.ceil(n / array.cols), job.folds(array.rows)
    kinds = _descriptors(m, columns, mapping)
    rounds = Rounds(m, array.token_tile, columns, folds, mapping.column_cores, mapping.fold_cores)
    core = CoreTiming(
        beats=array.weight_beats,
        last_beats=array.weight_beats + array.scale_beats,
        latency=array.pipeline_latency + cores.reduction_latency(mapping.fold_cores),
        result_interval=cores.result_interval(array, mapping.fold_cores),
        double_buffer=job.double_buffer,
    )
    feed = _dram_feed(job, mapping, array, memory)
    resting = feed._replace(weight_bytes=0, scale_bytes=0) if feed.weights_stay else feed
    positions = job.positions(array.rows) if array.structure.outputs_stationary else ()
    totals = [0] * len(TileCounts._fields)
    for kind in kinds:
        fetched = feed if kind.brings_weights else resting
        counts = _step(
            rounds._replace(tokens=kind.tokens, column_tiles=kind.block),
            core,
            fetched._replace(head_start=job.head_start if kind.first else 0),
            positions,
        )
        totals = [total + kind.count * value for total, value in zip(totals, counts, strict=True)]
    total, descriptors = TileCounts(*totals), sum(kind.count for kind in kinds)
    column_blocks = [kind for kind in kinds if kind.brings_weights]
    blocks = sum(kind.count for kind in column_blocks)
    token_tiles = sum(kind.count * math.ceil(kind.tokens / array.token_tile) for kind in kinds) // blocks
    column_rounds = sum(kind.count * math.ceil(kind.block / mapping.column_cores) for kind in column_blocks)
    return Schedule(
        mapping=mapping,
        cycles=total.cycles + descriptors,  # plus the edge that accepts each descriptor
        ideal=total.ideal,
        fill_drain=total.fill_drain + descriptors,
        weight_stall=total.weight_stall,
        dram_stall=total.dram_stall,
        output_stall=total.output_stall,
        weight_streams=token_tiles,
        weight_fetches=0 if job.weights_on_chip else 1 if feed.weights_stay else token_tiles,
        # Inputs that stay serve every plane and column tile of their token tile; others come for each plane again.
        input_fetches=0
        if inputs_on_chip(job, array)
        else blocks
        if feed.inputs_stay
        else column_rounds * folds / job.plane_folds(array.rows),
        dram_bytes=total.bytes_moved,
    )


def _dram_feed(job: GemmJob, mapping: Mapping, array: ArrayConfig, memory: MemoryConfig) -> DramFeed:
    """What DRAM moves for a descriptor that brings its weights."""
    folds, tile_bytes, scale_bytes = job.folds(array.rows), _tile_bytes(job, array), _scale_bytes(job, array)
    per_round = mapping.column_cores * mapping.fold_cores
    rounds = math.ceil(mapping.block / mapping.column_cores) * math.ceil(folds / mapping.fold_cores)
    buffer_rounds = array.weight_buffer_bytes // (per_round * max(tile_bytes, array.tile_bytes))
    token_bits = job.gemm.k * array.activation_bits + 2 * array.cols * job.output_bits  # in, and two buffers out
    fetch_inputs = not inputs_on_chip(job, array)
    slab_bits = min(mapping.tokens, array.token_tile) * token_bits
    inputs_stay = not fetch_inputs or slab_bits <= array.activation_buffer_bytes * 8
    ticks_per_byte = TICKS_PER_CYCLE / memory.bytes_per_cycle(array.clock_hz)
    return DramFeed(
        buffer_rounds=min(buffer_rounds, rounds, job.prefetch_rounds or rounds),
        ticks_per_byte=round(ticks_per_byte),
        ticks_per_written_byte=round(ticks_per_byte * memory.write_cost),
        first_word_ticks=round(memory.latency_s * array.clock_hz * TICKS_PER_CYCLE),
        weight_bytes=tile_bytes,
        scale_bytes=scale_bytes,
        weights_stay=mapping.block * (folds * tile_bytes + scale_bytes) <= array.weight_buffer_bytes,
        input_bytes=array.rows * array.activation_bits // 8 if fetch_inputs else 0,
        input_folds=job.plane_folds(array.rows) if inputs_stay else folds,
        inputs_stay=inputs_stay,
        output_bytes=0 if outputs_on_chip(job, array) else array.cols * job.output_bits // 8,
    )


@lru_cache(maxsize=_KEPT_STEPS)
def _step(rounds: Rounds, core: CoreTiming, feed: DramFeed, positions: tuple[int, ...]) -> TileCounts:
    """``step_tiles``, once per distinct set of arguments, whichever process came first."""
    key = repr((rounds, core, feed, positions))
    if (known := recall(key)) is not None:
        return TileCounts(*json.loads(known))
    from sim.kernels.tiles import step_tiles  # loads numba, which a run that was simulated before needs not

    counts = TileCounts(*(int(value) for value in step_tiles(rounds, core, feed, np.array(positions, np.int64))))
    remember(key, json.dumps(counts))
    return counts


def stepped_schedules() -> int:
    """Distinct GEMMs stepped since they were last forgotten."""
    return _step.cache_info().misses


def forget_schedules() -> None:
    """Forget every stepped GEMM, those of earlier processes too, so that the next one is timed honestly."""
    close()
    _step.cache_clear()
