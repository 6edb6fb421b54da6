"""``op_cost``: what an op of a trace costs on one array with one memory."""

from sim.counts import ActionCounts
from sim.gemm.cost import Cost
from sim.gemm.schedule import stays_on_chip
from sim.machine.attention import attention_cost
from sim.machine.linear import linear_cost
from sim.machine.ports import through_ports
from sim.machine.resources import Resources
from sim.trace.ops import AttentionOp, EmbeddingOp, LinearOp, Op, VectorOp

__all__ = ["op_cost"]


def op_cost(resources: Resources, op: Op, head_start: int = 0) -> Cost:
    """Cost of all ``op.count`` executions in one step; of an attention op in all its steps.

    A GEMM on the array finds the tiles that DRAM fetched in the ``head_start`` cycles before it.
    """
    executions = op.count * (op.steps if isinstance(op, AttentionOp) else 1)
    return through_ports(_unported(resources, op, head_start), resources.array, resources.cores.count, executions)


def _unported(resources: Resources, op: Op, head_start: int) -> Cost:
    """Cost with buffers that read and write whatever is wanted."""
    match op:
        case AttentionOp():
            return attention_cost(resources, op)
        case LinearOp():
            return linear_cost(resources, op, head_start)
        case EmbeddingOp():
            return _embedding_cost(resources, op).scaled(op.count)
        case VectorOp():
            return _vector_cost(resources, op).scaled(op.count)


def _vector_cost(resources: Resources, op: VectorOp) -> Cost:
    """Element operations; tensors that do not stay on chip are read from and written to DRAM meanwhile."""
    if resources.place(op) == "host":
        return resources.on_host(0, op.tokens * op.operations, op.tokens * (op.input_bits + op.output_bits), 0)
    read, written = op.tokens * op.input_bits, op.tokens * op.output_bits
    reads_dram = not stays_on_chip(op.tokens, op.input_bits, resources.array)
    writes_dram = not stays_on_chip(op.tokens, op.output_bits, resources.array)
    cached = resources.dram_bits(op.tokens * op.dram_write_bits)
    counts = ActionCounts(
        vector_ops=op.tokens * op.operations,
        activation_buffer_read_bits=read + (written if writes_dram else 0),
        activation_buffer_write_bits=written + (read if reads_dram else 0),
        dram_read_bits=read if reads_dram else 0,
        dram_write_bits=cached + (written if writes_dram else 0),
    )
    return resources.vector_cost(counts, rows=op.tokens)


def _embedding_cost(resources: Resources, op: EmbeddingOp) -> Cost:
    """Rows of the table, DRAM to activation buffer."""
    bits = op.tokens * op.row_bits
    return resources.vector_cost(
        ActionCounts(dram_read_bits=resources.dram_bits(bits), activation_buffer_write_bits=bits)
    )
