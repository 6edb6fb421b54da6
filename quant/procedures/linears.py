"""The linears of one block, solved one by one or, where a method allows, those with one input stacked as one."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from hw.errors import InputError
from quant.llama.blocks import DecoderLinear
from quant.methods.method import MethodOptions
from quant.procedures.shared.shards import WHOLE, Shards
from quant.recording import INPUT_OF_KIND
from quant.weights.solution import LinearSolution, join_rows

__all__ = ["solve_linears"]


def solve_linears(
    linears: Sequence[DecoderLinear],
    hessians: Mapping[str, torch.Tensor],
    solve: Callable[..., LinearSolution],
    options: MethodOptions,
    samples: Mapping[str, torch.Tensor] | None = None,
    shards: Shards = WHOLE,
) -> Iterator[tuple[DecoderLinear, LinearSolution]]:
    """Each linear with its solution; ``hessians``, and ``samples`` of inputs where a method takes them, by kind.

    Rows that are solved by themselves (``MethodOptions.rows_apart``) of linears with one input, such as q, k and v,
    are solved in one go: as many steps along the columns as one linear takes. Each of ``shards`` solves some of these
    rows, or, where rows are not apart, all of them.

    Raises:
        InputError: what the solver refuses, with the linear's name.
    """
    for group in _groups(linears, options.rows_apart):
        weights, kind = [linear.module.weight for linear in group], group[0].kind
        try:
            weight = torch.cat(weights) if len(group) > 1 else weights[0]
            sample = (samples[kind],) if samples else ()
            parts = shards.pieces(weight) if options.rows_apart else [weight]
            solved = [solve(part, hessians[kind], options.for_kind(kind), *sample) for part in parts]
        except InputError as error:
            raise InputError(f"{_name(group)}: {error}") from None
        stacked = solved[0]
        if options.rows_apart and shards.count > 1:
            every = shards.gathered([one.to("cpu") for one in solved])
            stacked = join_rows(every).to(weight.device)
        yield from zip(
            group, stacked.split_rows([len(w) for w in weights]) if len(group) > 1 else [stacked], strict=True
        )


def _groups(linears: Sequence[DecoderLinear], stacked: bool) -> list[list[DecoderLinear]]:
    if not stacked:
        return [[linear] for linear in linears]
    by_input: dict[str, list[DecoderLinear]] = {}
    for linear in linears:
        by_input.setdefault(INPUT_OF_KIND[linear.kind], []).append(linear)
    return list(by_input.values())


def _name(group: Sequence[DecoderLinear]) -> str:
    return ", ".join([group[0].name, *(linear.kind for linear in group[1:])])
