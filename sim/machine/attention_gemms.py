"""Scores and values on the array: K or V in the place of weights, dense operands or balanced-ternary digits.

The GEMMs of a step are known before its first: the loader asks for the tiles of the next while those of one are used,
so that the first word of DRAM is waited for once.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hw.config import ArrayConfig
from hw.formats import STORED_SCALE_BITS
from quant.shapes import Gemm
from sim.counts import ActionCounts
from sim.gemm.cost import Cost, GemmCosts
from sim.gemm.schedule import GemmJob
from sim.machine.key_blocks import KeyBlocks, key_blocks
from sim.machine.resources import Resources
from sim.result import CAUSES
from sim.trace.ops import AttentionOp, KvDigits
from sim.trace.statistics import DIGIT_ZERO_FRACTION, RANDOM_TOGGLE_RATE, Order, assumed_statistics

__all__ = ["block_keys", "dense_attention", "digit_attention"]

_NOTHING = Cost(0, dict.fromkeys(CAUSES, 0), ActionCounts())


class _Alike(NamedTuple):
    """GEMMs over equally many tiles: they differ in what the last tile holds, and take the same cycles."""

    cost: Cost  # of one, for ``most`` keys
    most: int
    blocks: KeyBlocks  # those of these sizes


def dense_attention(resources: Resources, op: AttentionOp, useful: int) -> Cost:
    """One GEMM per KV head and query tile; where the array takes an operand in several passes, each digit is a plane.

    The digits' powers of two are shifts, so that an output keeps one scale. ``useful``: products that are not masked,
    one pass, of all heads and steps.
    """
    array, passes, scores = resources.dense_array, resources.array.arithmetic.dense_passes, _makes_scores(op)
    gemms, heads = resources.dense_gemms, op.batch * op.kv_heads
    total, missing = _first_words(resources, op), 0
    for blocks in key_blocks(op, array.token_tile):
        job = GemmJob(_sizes(op, blocks.rows, 1), planes=passes, weight_dram_bits=resources.formats.kv_bits / passes)
        for alike in _alike(resources, gemms, op, blocks, job):
            total += alike.cost.scaled(int(alike.blocks.times.sum()) * heads)
            missing += int(((alike.most - alike.blocks.keys) * alike.blocks.times).sum()) * blocks.rows * heads * scores
    multiplies = total.counts.scale_multiplies // passes
    multiplies -= missing if array.arithmetic.output_scales else 0
    return _masked(resources, total, useful * passes, missing, 1.0, multiplies)


def digit_attention(resources: Resources, op: AttentionOp, digits: KvDigits, useful: int) -> Cost:
    """A GEMM per KV head, query tile and block of keys, a pass per digit plane, the vector unit streaming beside it.

    K enters by columns, a token each, V by lanes, a token each; both take the beats of any tile. The vector unit
    multiplies each score with its key's scale; of values it scales and adds the sums of each block to the running
    output, and divides the last by the sum of probabilities. Scales of K and V come from DRAM beside the scores.
    """
    array, gemms, scores = resources.array, resources.gemms, _makes_scores(op)
    heads, planes = op.batch * op.kv_heads, digits.key_digits if scores else digits.value_digits
    total, missing = _first_words(resources, op), 0
    for blocks in key_blocks(op, array.token_tile, lambda rows: block_keys(resources, digits, rows)):
        job = GemmJob(
            _sizes(op, blocks.rows, 1), planes=planes, digits=True, tile_dram_bytes=_tile_bytes(array, op, digits)
        )
        for alike in _alike(resources, gemms, op, blocks, job):
            total += _streamed(resources, op, alike).scaled(heads)
            missing += int(((alike.most - alike.blocks.keys) * alike.blocks.times).sum()) * blocks.rows * heads * scores
    order: Order = "prefill" if op.queries * op.group > 1 else "decode"  # tiles rest, or meet one row each
    activity = assumed_statistics(order, DIGIT_ZERO_FRACTION).toggle_rate / RANDOM_TOGGLE_RATE
    return _masked(resources, total, useful * planes, missing, activity, total.counts.scale_multiplies)


def block_keys(resources: Resources, digits: KvDigits, rows: int) -> int:
    """Keys of a block: whole tiles whose scores stay in half of the activation buffer and whose values do not overflow.

    At least one tile of lanes, which every array with digits sums without overflow.
    """
    array = resources.array
    held = array.activation_buffer_bytes * 8 // 2 // (rows * resources.formats.residual_bits)
    longest = min(held, array.max_k_of(digits.value_digits, digits=True))
    return max(1, longest // array.rows) * array.rows


def _first_words(resources: Resources, op: AttentionOp) -> Cost:
    """What all steps wait for the first words of K or V; nothing where they live on chip."""
    waits = 0 if resources.execution.on_chip else resources.latency_cycles * op.steps
    return _NOTHING._replace(cycles=waits, causes=_NOTHING.causes | {"dram_stall": waits})


def _makes_scores(op: AttentionOp) -> bool:
    return op.name == "attention_scores"


def _sizes(op: AttentionOp, rows: int, keys: int) -> Gemm:
    return Gemm(rows, keys, op.head_dim) if _makes_scores(op) else Gemm(rows, op.head_dim, keys)


def _tile_bytes(array: ArrayConfig, op: AttentionOp, digits: KvDigits) -> int:
    """Bytes in DRAM of one tile of one plane: ``cols`` tokens of K, ``rows`` tokens of V, a part of the head each."""
    if _makes_scores(op):
        plane_bytes = digits.key_bytes(op.head_dim) // digits.key_digits
        return math.ceil(array.cols * plane_bytes / math.ceil(op.head_dim / array.rows))
    plane_bytes = digits.value_bytes(op.head_dim) // digits.value_digits
    return math.ceil(array.rows * plane_bytes / math.ceil(op.head_dim / array.cols))


def _alike(
    resources: Resources, gemms: GemmCosts, op: AttentionOp, blocks: KeyBlocks, job: GemmJob
) -> Iterator[_Alike]:
    """``blocks`` by the tiles that they fill, each number of tiles stepped once.

    A grid takes a vector per position of K, so that its values are stepped for every number of keys.
    """
    array = gemms.array
    if array.structure.outputs_stationary and not _makes_scores(op):
        tiles = blocks.keys
    else:
        tiles = -(-blocks.keys // (array.cols if _makes_scores(op) else array.rows))
    for count in np.unique(tiles):
        same = tiles == count
        most = int(blocks.keys[same].max())
        sized = job._replace(
            gemm=_sizes(op, blocks.rows, most),
            inputs_on_chip=True,
            outputs_on_chip=True,
            head_start=resources.latency_cycles,
        )
        alike = KeyBlocks(blocks.rows, *(values[same] for values in blocks[1:]))
        yield _Alike(gemms.of(resources.executed(sized)), most, alike)


def _streamed(resources: Resources, op: AttentionOp, alike: _Alike) -> Cost:
    """The GEMMs of ``alike`` with their outputs' work on the vector unit, which streams beside the array."""
    (cost, _, (rows, keys, times, last)), scores = alike, _makes_scores(op)
    formats = resources.formats
    outputs = rows * (keys if scores else np.full_like(keys, op.head_dim))
    scale_bits = 2 * STORED_SCALE_BITS * keys * scores  # of K, and of V, which probabilities take with them
    beside = ActionCounts(
        scale_multiplies=outputs if scores else outputs * (1 + last),
        vector_ops=outputs * (not scores),
        weight_buffer_write_bits=resources.dram_bits(scale_bits),
        weight_buffer_read_bits=scale_bits,
        activation_buffer_read_bits=outputs * ~last * formats.residual_bits * (not scores),  # the output so far
        dram_read_bits=resources.dram_bits(scale_bits),
    )
    busy = np.maximum(cost.cycles, np.ceil(beside.vector_work / resources.attention_lanes).astype(np.int64))
    dram_idle = np.maximum(0.0, busy - resources.dram_cycles(cost.counts))
    waits = np.maximum(0, np.ceil(resources.dram_cycles(beside) - dram_idle)).astype(np.int64)
    cycles = busy + waits
    bound = {"dram_stall": waits > 0, "vector": (waits == 0) & (busy > cost.cycles)}
    bound["array"] = (waits == 0) & (busy == cost.cycles)
    total = _NOTHING
    for what, which in bound.items():  # of what takes longest, as of any op
        if not which.any():
            continue
        one, taken = cost.scaled(int(times[which].sum())), int((cycles * times)[which].sum())
        total += one if what == "array" else one._replace(cycles=taken).bound_by(what)
    counts = total.counts._replace(scale_multiplies=0.0)
    summed = (float((values * times).sum()) if isinstance(values, np.ndarray) else 0.0 for values in beside)
    return total._replace(counts=counts + ActionCounts(*summed))


def _masked(resources: Resources, total: Cost, useful: int, missing: int, activity: float, multiplies: float) -> Cost:
    """``total`` with its masked products as padding, and without ``missing`` scores, of keys that are not there."""
    masked = total.counts.array_macs - useful
    counts = total.counts._replace(
        array_macs=useful,
        array_macs_active=useful * activity,
        array_macs_padding=total.counts.array_macs_padding + masked,
        activation_buffer_write_bits=total.counts.activation_buffer_write_bits
        - missing * resources.formats.residual_bits,
        scale_multiplies=multiplies,
    )
    return total._replace(counts=counts, macs=useful)
