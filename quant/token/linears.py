"""A linear's planes, groups and scales as the parts that ``hw.token.linear`` adds up."""

import numpy as np
import torch

from hw.errors import InputError
from hw.token.linear import LinearPart, linear_part
from quant.weights.solution import LinearSolution

__all__ = ["parts_of"]


def parts_of(
    solution: LinearSolution, fraction: int, name: str, rows: np.ndarray | None = None
) -> tuple[LinearPart, ...]:
    """Parts whose sum is the linear, for words of ``fraction`` fraction bits; ``rows``: another order of outputs.

    Planes tied by powers of three are digits of one part; other planes, and groups, are parts of their own.

    Raises:
        InputError: offsets, a permutation, outliers or a low-rank correction, which the whole token has no kernel for;
            sums that may leave the accumulator.
    """
    _check(solution, name)
    trits, scales = solution.trits.cpu(), solution.plane_scales().cpu()
    if rows is not None:
        order = torch.from_numpy(rows)
        trits, scales = trits[:, order], scales[:, order]
    if _are_digits(solution.ratios):
        weights = torch.tensor(solution.ratios, dtype=torch.int64)
        trits = (weights[:, None, None] * trits).sum(0, keepdim=True)
        scales, digits = scales[-1:], solution.planes
    else:
        digits = 1
    size = solution.group or solution.k
    return tuple(
        linear_part(
            plane[:, first : first + size].numpy(), scale[:, group].double().numpy(), digits, first, fraction, name
        )
        for group, first in enumerate(range(0, solution.k, size))
        for plane, scale in zip(trits, scales, strict=True)
    )


def _are_digits(ratios: tuple[int, ...] | None) -> bool:
    """Whether tied planes weigh 3**(d - 1), ..., 3, 1."""
    return ratios is not None and ratios == tuple(3**place for place in reversed(range(len(ratios))))


def _check(solution: LinearSolution, name: str) -> None:
    extras = {
        "offsets": solution.offsets is not None or solution.zeros is not None,
        "a permutation": solution.permutation is not None,
        "outliers at 8 bits": solution.outliers is not None,
        "a low-rank correction": solution.low_rank is not None,
    }
    if found := [what for what, there in extras.items() if there]:
        raise InputError(
            f"{name}: linears of the whole token must be planes of trits with scales, not with {found[0]}; "
            "use a method without (digits, rtn, ptqtp, pt-bitnet)"
        )
