"""``Machine``: what each kind of op of a trace costs on one array with one memory."""

import math

import numpy as np

from hw.config import ArrayConfig
from quant.shapes import Gemm
from sim.cores import ONE_CORE, CoreGroup
from sim.counts import ActionCounts
from sim.execution import Execution
from sim.gemm import Cost, GemmJob, gemm_cost, stays_on_chip
from sim.memory import MemoryConfig
from sim.ops import AttentionOp, EmbeddingOp, Formats, LinearOp, Op, VectorOp
from sim.result import CAUSES, Statistics
from sim.statistics import RANDOM_TOGGLE_RATE, assumed_statistics

__all__ = ["Machine"]

_INT8 = 8  # bits
_SOFTMAX_OPERATIONS = 5  # per score: scale and maximum, subtract, exponential, sum, multiply


class Machine:
    """Cores with their vector units, buffers and DRAM. Each method gives the cost of all executions of an op.

    On a ternary array everything whose operands are not trits (attention products, lm_head) runs on the vector unit;
    the int8 and fp16 arrays run it themselves.
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
        self.cores = cores
        self.execution = execution or Execution()
        self.memory = memory
        self.formats = formats
        self._bytes_per_cycle = memory.bytes_per_cycle(array.clock_hz)
        self._vector_lanes = array.vector_lanes * cores.count  # elements are independent: they spread over all cores
        self._latency_cycles = math.ceil(memory.latency_s * array.clock_hz)

    def place(self, op: Op) -> str:
        """Where an op runs: "array", "vector", "host" or "dram"."""
        if op.name in self.execution.placement:
            return self.execution.placement[op.name]
        dense = "array" if self.array.mac != "ternary" and self.execution.dense_products == "array" else "vector"
        match op:
            case LinearOp():
                return "array" if op.statistics is not None else dense
            case AttentionOp():
                return "vector" if op.name == "softmax" else dense
            case VectorOp() if op.operations:
                return "vector"
            case _:
                return "dram"

    def linear(self, op: LinearOp, head_start: int = 0) -> Cost:
        """A weight GEMM, its dequantization streamed through the vector unit while the array works.

        On the array it finds the tiles that DRAM fetched in the ``head_start`` cycles before it.
        """
        place = self.place(op)
        if place == "host":
            return self._linear_on_host(op).scaled(op.count)
        if place == "vector":
            return self._linear_on_vector_unit(op).scaled(op.count)
        dense = self.array.mac != "ternary"
        planes = 1 if dense else op.planes
        group = None if dense else op.group
        requantizes = (
            self.array.results == "int8"
        )  # beside the array: no multiply and no offset is left to the vector unit
        output_bits = _INT8 if requantizes else self.formats.residual_bits
        job = self._job(GemmJob(op.gemm, planes=planes, group=group, head_start=head_start, output_bits=output_bits))
        cost = gemm_cost(job, self.array, self.memory, self.cores)
        toggles = self._operand_toggles(op.statistics)
        m, n, k = op.gemm
        match self.array.mac:
            case "fp16":
                scales, offsets = 0, 0  # outputs are what they are
            case "int8":
                scales, offsets = 1, 0
            case _:
                scales, offsets = op.scale_groups * planes, op.offset_groups
        counts = cost.counts._replace(
            array_macs_active=cost.counts.array_macs * toggles / RANDOM_TOGGLE_RATE,
            scale_multiplies=m * n * (scales + offsets),
            vector_ops=m * k if offsets and not self.array.sum_of_x else 0,
        )
        on_vector_unit = counts.vector_ops + (0 if requantizes else counts.scale_multiplies)
        vector_cycles = math.ceil(on_vector_unit / self._vector_lanes)
        beyond = max(0, vector_cycles - cost.cycles)
        causes = cost.causes | {"vector": beyond}
        return Cost(cost.cycles + beyond, causes, counts, cost.macs, cost.tried).scaled(op.count)

    def _operand_toggles(self, statistics: Statistics | None) -> float:
        """Toggle rate of the operand that a lane adds or multiplies."""
        if statistics is None:
            return RANDOM_TOGGLE_RATE
        if self.array.mac != "ternary":
            return statistics.input_toggle_rate
        if self.array.organisation == "systolic" and not statistics.measured:  # every issue brings new trits
            return assumed_statistics("decode", statistics.zero_fraction).toggle_rate
        return statistics.toggle_rate

    def _job(self, job: GemmJob) -> GemmJob:
        """``job`` as this run executes it."""
        execution = self.execution
        return job._replace(
            weights_on_chip=execution.on_chip,
            double_buffer=execution.double_buffer,
            order=None if execution.mapping == "auto" else execution.mapping,
            descriptor_tokens=execution.descriptor_tokens,
            prefetch_rounds=execution.prefetch_tiles,
        )

    def _stored(self, bits: np.ndarray | float) -> np.ndarray | float:
        """DRAM traffic of weights, KV cache or embedding of that many bits."""
        return bits * (not self.execution.on_chip)

    def vector(self, op: VectorOp) -> Cost:
        """Element operations; tensors that do not stay on chip are read from and written to DRAM meanwhile."""
        if self.place(op) == "host":
            link_bits = op.tokens * (op.input_bits + op.output_bits)
            return self._on_host(0, op.tokens * op.operations, link_bits, 0).scaled(op.count)
        read, written = op.tokens * op.input_bits, op.tokens * op.output_bits
        reads_dram = not stays_on_chip(op.tokens, op.input_bits, self.array)
        writes_dram = not stays_on_chip(op.tokens, op.output_bits, self.array)
        cached = self._stored(op.tokens * op.dram_write_bits)
        counts = ActionCounts(
            vector_ops=op.tokens * op.operations,
            activation_buffer_read_bits=read + (written if writes_dram else 0),
            activation_buffer_write_bits=written + (read if reads_dram else 0),
            dram_read_bits=read if reads_dram else 0,
            dram_write_bits=cached + (written if writes_dram else 0),
        )
        return self._vector_cost(counts).scaled(op.count)

    def embedding(self, op: EmbeddingOp) -> Cost:
        """Rows of the table, DRAM to activation buffer."""
        bits = op.tokens * op.row_bits
        return self._vector_cost(
            ActionCounts(dram_read_bits=self._stored(bits), activation_buffer_write_bits=bits)
        ).scaled(op.count)

    def attention(self, op: AttentionOp) -> Cost:
        """Scores, softmax or values of all steps, over a cache that grows.

        Scores are made, normalised (online softmax) and used in blocks that stay on chip: only K and V come from DRAM,
        once per tile of ``token_tile`` query tokens.
        """
        if self.place(op) == "host":
            return self._attention_on_host(op).scaled(op.count)
        if op.name == "softmax":
            scores = _score_pairs(op) * op.batch * op.kv_heads * op.group
            bits = scores * self.formats.residual_bits
            return self._vector_steps(
                ActionCounts(
                    vector_ops=scores * _SOFTMAX_OPERATIONS,
                    activation_buffer_read_bits=bits,
                    activation_buffer_write_bits=bits,
                )
            ).scaled(op.count)
        if self.place(op) == "array":
            return self._attention_on_array(op).scaled(op.count)
        return self._attention_on_vector_unit(op).scaled(op.count)

    def _attention_on_vector_unit(self, op: AttentionOp) -> Cost:
        """One operand of each multiply stays in a register of its lane, the other (of K or V) is read."""
        macs = _score_pairs(op) * op.batch * op.kv_heads * op.group * op.head_dim
        cache_bits = (
            _cache_reads(op, self.array.token_tile) * op.batch * op.kv_heads * op.head_dim * self.formats.kv_bits
        )
        query_bits = op.batch * op.queries * op.kv_heads * op.group * op.head_dim * self.formats.residual_bits
        counts = ActionCounts(
            vector_macs=macs,
            activation_buffer_read_bits=macs * self.formats.kv_bits + query_bits,
            activation_buffer_write_bits=cache_bits + query_bits,
            dram_read_bits=self._stored(cache_bits),
        )
        cost = self._vector_steps(counts)
        return cost._replace(macs=int(macs.sum()))

    def _attention_on_array(self, op: AttentionOp) -> Cost:
        """A GEMM per KV head and query tile, K or V in the place of weights; masked products are padding."""
        total = Cost(0, dict.fromkeys(CAUSES, 0), ActionCounts())
        heads = op.batch * op.kv_heads
        for step in range(op.steps):
            for first in range(0, op.queries, self.array.token_tile):
                tokens = min(self.array.token_tile, op.queries - first)
                end = op.past + step * op.queries + first + tokens
                context = end if op.window is None else min(end, op.window + tokens - 1)
                n, k = (context, op.head_dim) if op.name == "attention_scores" else (op.head_dim, context)
                job = GemmJob(
                    Gemm(tokens * op.group, n, k),
                    weight_dram_bits=self.formats.kv_bits,
                    inputs_on_chip=True,
                    outputs_on_chip=True,
                )
                total += gemm_cost(self._job(job), self.array, self.memory, self.cores).scaled(heads)
        useful = int(_score_pairs(op).sum()) * heads * op.group * op.head_dim
        masked = total.counts.array_macs - useful
        counts = total.counts._replace(
            array_macs=useful, array_macs_active=useful, array_macs_padding=total.counts.array_macs_padding + masked
        )
        return total._replace(counts=counts, macs=useful)

    def _weight_bits(self, op: LinearOp) -> float:
        """Stored bits of one weight of a linear that does not run on the array."""
        return self.formats.head_bits if op.statistics is None else self.array.weight_bits * op.planes

    def _linear_on_vector_unit(self, op: LinearOp) -> Cost:
        """Weights in their own format, each read from DRAM once per token tile and used for all its tokens."""
        gemm = op.gemm
        bits = gemm.n * gemm.k * self._weight_bits(op) * math.ceil(gemm.m / self.array.token_tile)
        outputs = gemm.m * gemm.n
        counts = ActionCounts(
            vector_macs=gemm.macs,
            scale_multiplies=outputs,
            weight_buffer_write_bits=self._stored(bits),
            weight_buffer_read_bits=bits,
            activation_buffer_read_bits=gemm.macs * self.formats.residual_bits,
            activation_buffer_write_bits=outputs * self.formats.residual_bits,
            dram_read_bits=self._stored(bits),
        )
        return self._vector_cost(counts)._replace(macs=gemm.macs)

    def _linear_on_host(self, op: LinearOp) -> Cost:
        """Inputs and outputs over the link, weights from DRAM."""
        m, n, k = op.gemm
        link_bits = m * (k * self.formats.activation_bits + n * self.formats.residual_bits)
        return self._on_host(op.gemm.macs, 0, link_bits, self._stored(n * k * self._weight_bits(op)))

    def _attention_on_host(self, op: AttentionOp) -> Cost:
        """Queries or outputs and one score per pair over the link, K or V from DRAM."""
        heads = op.batch * op.kv_heads
        scores = _score_pairs(op) * heads * op.group
        if op.name == "softmax":
            return self._on_host(0, scores * _SOFTMAX_OPERATIONS, 2 * scores * self.formats.residual_bits, 0)
        cache = _cache_reads(op, self.array.token_tile) * heads * op.head_dim * self.formats.kv_bits
        vectors = op.batch * op.queries * op.kv_heads * op.group * op.head_dim
        link_bits = (scores + vectors) * self.formats.residual_bits
        return self._on_host(scores * op.head_dim, 0, link_bits, self._stored(cache))

    def _on_host(self, macs, operations, link_bits, dram_bits) -> Cost:
        """Cost of steps after one another, each argument a number or one per step; work, link and DRAM overlap."""
        host = self.execution.host
        macs, operations, link_bits, dram_bits = np.broadcast_arrays(
            *(np.atleast_1d(np.asarray(value, np.float64)) for value in (macs, operations, link_bits, dram_bits))
        )
        work_s = macs / host.macs_per_s + operations / host.operations_per_s
        busy_s = host.latency_s + np.maximum(work_s, link_bits / 8 / host.link_bytes_per_s)
        busy = np.ceil(np.round(busy_s * self.array.clock_hz, 6)).astype(np.int64)  # not for a float's last bit
        dram = np.ceil(dram_bits / 8 / self._bytes_per_cycle).astype(np.int64)
        stall = int(np.maximum(dram - busy, 0).sum())
        causes = dict.fromkeys(CAUSES, 0) | {"host": int(busy.sum()), "dram_stall": stall}
        counts = ActionCounts(
            host_macs=float(macs.sum()),
            host_ops=float(operations.sum()),
            host_link_bits=float(link_bits.sum()),
            dram_read_bits=float(dram_bits.sum()),
        )
        return Cost(int(busy.sum()) + stall, causes, counts, int(macs.sum()))

    def dram_cycles(self, counts: ActionCounts) -> float:
        """Cycles in which DRAM moves what ``counts`` say."""
        return (counts.dram_read_bits + self.memory.write_cost * counts.dram_write_bits) / 8 / self._bytes_per_cycle

    def _vector_cost(self, counts: ActionCounts) -> Cost:
        """Vector unit and DRAM overlap; the first word of a read is waited for."""
        return self._vector_steps(ActionCounts(*(np.array([value], np.float64) for value in counts)))

    def _vector_steps(self, counts: ActionCounts) -> Cost:
        """Cost of steps after one another; each field of ``counts`` holds one value per step."""
        work = counts.vector_macs + counts.vector_ops + counts.scale_multiplies
        compute = np.ceil(np.asarray(work) / self._vector_lanes).astype(np.int64)
        moved = np.asarray(counts.dram_read_bits + self.memory.write_cost * counts.dram_write_bits) / 8
        waits = np.where(np.asarray(counts.dram_read_bits) > 0, self._latency_cycles, 0)
        dram = np.ceil(moved / self._bytes_per_cycle).astype(np.int64) + waits
        vector, stall = int(compute.sum()), int(np.maximum(dram - compute, 0).sum())
        causes = dict.fromkeys(CAUSES, 0) | {"vector": vector, "dram_stall": stall}
        return Cost(vector + stall, causes, ActionCounts(*(float(np.sum(value)) for value in counts)))


def _score_pairs(op: AttentionOp) -> np.ndarray:
    """Causal (query, key) pairs of one head and sequence in each step: int64 ``(steps,)``."""
    past = op.past + op.queries * np.arange(op.steps, dtype=np.int64)  # (steps,)
    visible = past[:, None] + np.arange(1, op.queries + 1, dtype=np.int64)  # (steps, queries)
    if op.window is not None:
        visible = np.minimum(visible, op.window)
    return visible.sum(axis=1)


def _cache_reads(op: AttentionOp, query_tile: int) -> np.ndarray:
    """Cached tokens fetched for one head and sequence in each step, once per query tile: int64 ``(steps,)``."""
    past = op.past + op.queries * np.arange(op.steps, dtype=np.int64)
    reads = np.zeros(op.steps, np.int64)
    for first in range(0, op.queries, query_tile):
        tokens = min(query_tile, op.queries - first)
        end = past + first + tokens
        reads += end if op.window is None else np.minimum(end, op.window + tokens - 1)
    return reads
