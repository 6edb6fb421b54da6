"""Parts that a batch is split into, the same parts whatever devices compute them, so that all give the same bits.

Each part's sum (a gradient, a Hessian) is taken by itself; the sums are then added in the order of the parts. One
process computes all parts in turn; several compute one each, and every one of them adds all (data parallelism as of Li
et al., PyTorch Distributed, arXiv 2006.15704, but for the order of the sum, which an all-reduce leaves to the ring).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, distributed

from hw.errors import InputError

__all__ = ["WHOLE", "Shards", "flat_gradients", "one_order", "put_gradients", "shared_loss"]

Value = TypeVar("Value")


class Shards(NamedTuple):
    """``count`` parts; one of ``processes`` (1 or ``count``), the ``rank``-th, computes those that are ``mine``.

    ``local``: whether a process holds the states of its own parts alone, else those of all.
    """

    count: int = 1
    rank: int = 0
    processes: int = 1
    local: bool = False

    @property
    def mine(self) -> range:
        """Parts that this process computes."""
        return range(self.count) if self.processes == 1 else range(self.rank, self.rank + 1)

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def pieces(self, values: Tensor) -> list[Tensor]:
        """Views of ``mine`` along the first axis of what every process has, their lengths as equal as can be."""
        every = values.tensor_split(self.count)
        return [every[part] for part in self.mine]

    def split(self, states: Tensor) -> list[Tensor]:
        """The same of states: all there are where ``local`` and others have theirs."""
        return [states] if self.local and self.processes > 1 else self.pieces(states)

    def held(self, windows: Tensor) -> Tensor:
        """Of all windows those whose states this process holds."""
        return windows.tensor_split(self.count)[self.rank] if self.local and self.processes > 1 else windows

    def whole(self, held: int) -> int:
        """How many there are of what each process holds so many."""
        return held * self.processes if self.local else held

    def total(self, parts: Sequence[Tensor]) -> Tensor:
        """Sum of all parts in their order; ``parts``: the tensors of ``mine``, of one shape each."""
        every = list(parts)
        if self.processes > 1:
            (own,) = parts
            every = [torch.empty_like(own, memory_format=torch.contiguous_format) for _ in range(self.count)]
            distributed.all_gather(every, own.contiguous())
        total = every[0].clone()
        for part in every[1:]:
            total += part
        return total

    def gathered(self, parts: Sequence[Value]) -> list[Value]:
        """Values of all parts in their order; ``parts``: of ``mine``, tensors in them on the host."""
        if self.processes == 1:
            return list(parts)
        found: list[Value | None] = [None] * self.count
        distributed.all_gather_object(found, parts[0])
        return found

    def agreed(self, value: bool) -> bool:
        """What the leading process found, for all of them."""
        return value if self.processes == 1 else self.gathered([value])[0]

    def check_batch(self, option: str, tokens: int, windows: int, length: int) -> None:
        """Refuse a step that the parts cannot share equally; ``windows`` of ``length`` tokens are in it.

        Raises:
            InputError: with a number of tokens that they can.
        """
        if windows % self.count:
            each = self.count * length
            raise InputError(
                f"option {option} must give each of {self.count} shards as many windows of {length} tokens, not "
                f"{windows} windows ({tokens} tokens) to all; a multiple of {each}, such as "
                f"{max(1, round(windows / self.count)) * each}, does"
            )


WHOLE = Shards()


def flat_gradients(parameters: Sequence[Tensor], loss: Tensor) -> Tensor:
    """Gradients of all parameters and a loss in one vector; the parameters keep none."""
    found = [torch.zeros_like(one) if one.grad is None else one.grad for one in parameters]
    flat = torch.cat([*(one.flatten() for one in found), loss.detach().reshape(1)])
    for one in parameters:
        one.grad = None
    return flat


def put_gradients(parameters: Sequence[Tensor], flat: Tensor) -> Tensor:
    """Take a vector of ``flat_gradients`` apart, into the parameters; the loss, 0-dim."""
    *pieces, loss = flat.split([*(one.numel() for one in parameters), 1])
    for one, piece in zip(parameters, pieces, strict=True):
        one.grad = piece.view_as(one)
    return loss[0]


def shared_loss(
    shards: Shards, parameters: Sequence[Tensor], batch: Sequence[Tensor], part: Callable[..., Tensor]
) -> Tensor:
    """Gradients of a whole batch in the parameters, and its loss; ``part``: ``flat_gradients`` of a part of it.

    ``part`` may return the same memory each time.
    """
    pieces = zip(*(shards.split(one) for one in batch), strict=True)
    with one_order():
        found = (
            [part(*piece) for piece in pieces] if shards.processes > 1 else [part(*piece).clone() for piece in pieces]
        )
    return put_gradients(parameters, shards.total(found))


@contextmanager
def one_order(warn_only: bool = False) -> Iterator[None]:
    """Inside, operations on a GPU take ways that add in one order; torch refuses, or warns of, those that have none.

    Attention's backward pass has such a way only where torch refuses: where it warns, flash attention and the
    memory-efficient one add as it comes.
    """
    enabled, warned = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    torch.use_deterministic_algorithms(True, warn_only=warn_only)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(enabled, warn_only=warned)
