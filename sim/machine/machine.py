"""``Machine``: what each kind of op of a trace costs on one array with one memory."""

from sim.counts import ActionCounts
from sim.gemm.cost import Cost, stays_on_chip
from sim.machine.attention import attention_cost
from sim.machine.linear import linear_cost
from sim.machine.resources import Resources
from sim.trace.ops import AttentionOp, EmbeddingOp, LinearOp, VectorOp

__all__ = ["Machine"]


class Machine(Resources):
    """Each method gives the cost of all executions of an op."""

    def linear(self, op: LinearOp, head_start: int = 0) -> Cost:
        """A weight GEMM; on the array it finds the tiles that DRAM fetched in the ``head_start`` cycles before it."""
        return linear_cost(self, op, head_start)

    def attention(self, op: AttentionOp) -> Cost:
        """Scores, softmax or values of all steps, over a cache that grows."""
        return attention_cost(self, op)

    def vector(self, op: VectorOp) -> Cost:
        """Element operations; tensors that do not stay on chip are read from and written to DRAM meanwhile."""
        if self.place(op) == "host":
            link_bits = op.tokens * (op.input_bits + op.output_bits)
            return self.on_host(0, op.tokens * op.operations, link_bits, 0).scaled(op.count)
        read, written = op.tokens * op.input_bits, op.tokens * op.output_bits
        reads_dram = not stays_on_chip(op.tokens, op.input_bits, self.array)
        writes_dram = not stays_on_chip(op.tokens, op.output_bits, self.array)
        cached = self.stored(op.tokens * op.dram_write_bits)
        counts = ActionCounts(
            vector_ops=op.tokens * op.operations,
            activation_buffer_read_bits=read + (written if writes_dram else 0),
            activation_buffer_write_bits=written + (read if reads_dram else 0),
            dram_read_bits=read if reads_dram else 0,
            dram_write_bits=cached + (written if writes_dram else 0),
        )
        return self.vector_cost(counts).scaled(op.count)

    def embedding(self, op: EmbeddingOp) -> Cost:
        """Rows of the table, DRAM to activation buffer."""
        bits = op.tokens * op.row_bits
        return self.vector_cost(
            ActionCounts(dram_read_bits=self.stored(bits), activation_buffer_write_bits=bits)
        ).scaled(op.count)
