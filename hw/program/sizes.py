"""Sizes of a model as a program sees them, whether a machine has room, and where vectors lie in its scratch memory."""

from typing import NamedTuple

from hw.division import ceil_divide
from hw.errors import InputError
from hw.program.machine import MachineConfig
from hw.token.hadamard import block_size
from hw.token.model import TokenModel

__all__ = ["Scratch", "Sizes"]


class Sizes(NamedTuple):
    """Of one model; ``group``: queries per KV head, ``capacity``: tokens of whole blocks that the context takes."""

    hidden: int
    intermediate: int
    heads: int
    kv_heads: int
    group: int
    head_dim: int
    vocabulary: int
    block: int
    capacity: int

    @classmethod
    def of(cls, model: TokenModel) -> "Sizes":
        """Sizes of a model, whose layers are alike."""
        layer, head_dim, block = model.layers[0], 2 * model.rotary.shape[-1], model.form.block
        heads = len(layer.q[0].weights) // head_dim
        return cls(
            hidden=model.embedding.weights.shape[1],
            intermediate=len(layer.gate[0].weights),
            heads=heads,
            kv_heads=model.kv_heads,
            group=heads // model.kv_heads,
            head_dim=head_dim,
            vocabulary=len(model.head.weights),
            block=block,
            capacity=ceil_divide(len(model.rotary), block) * block,
        )

    def check(self, machine: MachineConfig, rotate: bool) -> None:
        """Refuse a model that the machine has no room or no instruction for.

        Raises:
            InputError: the first thing that does not fit, with the numbers.
        """
        block = self.block
        rows, lanes = machine.array.rows, machine.lanes
        folds = max(
            ceil_divide(max(self.hidden, self.heads * self.head_dim, self.intermediate), rows),
            2 * ceil_divide(self.hidden, rows),
            self.group * (ceil_divide(self.head_dim, rows) + ceil_divide(block, rows)),
        )
        wrong = {
            f"heads of a multiple of {lanes} (a number per lane), not {self.head_dim}": self.head_dim % lanes,
            f"WHT blocks of at least {lanes} numbers, not {block_size(self.head_dim)}": (
                rotate and block_size(self.head_dim) < lanes
            ),
            f"blocks of a power of two of at least {max(machine.stretch, 2 * lanes)} tokens, not {block}: "
            f"give --block {max(64, machine.stretch)}": block & (block - 1) or block < max(machine.stretch, 2 * lanes),
            f"at most {machine.row_registers} queries per KV head, not {self.group}": self.group
            > machine.row_registers,
            f"at most 255 heads, not {self.heads}": self.heads > 255,
            f"at least {folds} words of activation buffer, not {machine.activation_words}: "
            f"give --activation-words {folds}": folds > machine.activation_words,
        }
        if found := [what for what, refused in wrong.items() if refused]:
            raise InputError(f"the machine needs {found[0]}")


class Scratch(NamedTuple):
    """First scratch word of every vector."""

    x: int
    scales: int  # stored scales, gains, constants of channels
    rotary: int
    sum: int  # of a linear's parts, before it enters the residual stream; what a norm multiplies
    query: int
    key: int
    value: int
    score: int
    value_scales: int
    output: int  # of the rows of a KV head's group
    attention: int
    gate: int
    up: int
    end: int

    @classmethod
    def of(cls, sizes: Sizes, machine: MachineConfig, chunk: int) -> "Scratch":
        """Places for every vector, those of attention and MLP shared; ``chunk``: outputs of one GEMM at most.

        Raises:
            InputError: more words than the machine has.
        """
        words, block = machine.words, sizes.block
        x, d, top = words(sizes.hidden), words(sizes.head_dim), 0
        largest = min(chunk, max(sizes.hidden, sizes.intermediate, sizes.heads * sizes.head_dim, sizes.vocabulary))

        def take(count: int) -> int:
            nonlocal top
            top += count
            return top - count

        shared = [take(x), take(max(words(largest), words(block), x)), take(d), take(x)]
        begin = top
        attention = [
            take(sizes.heads * d), take(sizes.kv_heads * d), take(sizes.kv_heads * d),
            take(sizes.group * words(block)), take(words(block)), take(sizes.group * words(sizes.head_dim)),
            take(sizes.heads * d),
        ]  # fmt: skip
        end, top = top, begin
        mlp = [take(words(sizes.intermediate)), take(words(sizes.intermediate))]
        found = cls(*shared, *attention, *mlp, end=max(end, top))
        if found.end > machine.scratch_words:
            raise InputError(
                f"scratch memory must hold {found.end} words of {machine.lanes} lanes for this model, "
                f"not {machine.scratch_words}: give --scratch-words {found.end}"
            )
        return found
