"""LRQ: FlexRound's divisors as a low-rank matrix, which generalizes from few samples, and factors of rows and columns.

Ref: Lee et al., LRQ: Optimizing Post-Training Quantization for Large Language Models by Learning Low-Rank
Weight-Scaling Matrices, NAACL 2025, arXiv 2407.11534, section 2: the exponent is ``L U + r + c`` with L (n, rank) of
zeros, U (rank, k) uniform within ``1 / sqrt(k)`` (Kaiming's with a = sqrt 5), r per row and c per column of zeros. See
``quant.methods.trained.divisors`` for what differs; besides, the code takes FlexRound itself for wide or tall linears,
and rank 1024 or 2048: here every linear has the rank of the option, a quarter of the inputs by default.
"""

from typing import Annotated, NamedTuple

import torch
from pydantic import Field

from hw.errors import InputError
from quant.methods.trained.divisors import DividedWeight, DivisorOptions, first_steps

__all__ = ["LowRankExponents", "Options", "learned_weight"]


class Options(DivisorOptions):
    """``rank`` of the exponents, None = a quarter of the inputs; ``draw``: seed of U, beside the linear's size."""

    rank: Annotated[int, Field(ge=1)] | None = None
    draw: Annotated[int, Field(ge=0, lt=2**63)] = 0


class LowRankExponents(NamedTuple):
    """``left`` (n, rank), ``right`` (rank, k), ``rows`` (n, 1), ``columns`` (1, k), logarithms."""

    left: torch.Tensor
    right: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor

    def matrix(self) -> torch.Tensor:
        """(n, k), in float32 wherever it is taken: bfloat16 products would round weights that are not stored so."""
        with torch.autocast(self.left.device.type, enabled=False):
            return self.left @ self.right + self.rows + self.columns


def learned_weight(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> DividedWeight:
    """Where ``quant.procedures.blockwise`` starts: exponents of zero, which is rounding to nearest.

    Raises:
        InputError: weights that are not finite, or a rank above the smaller side.
    """
    n, k = weight.shape
    rank = options.rank or max(1, min(n, k // 4))
    if rank > min(n, k):
        raise InputError(
            f"option 'rank' must be at most {min(n, k)}, the smaller side of the {n} x {k} weights, not {rank}"
        )
    drawn = torch.rand((rank, k), generator=torch.Generator().manual_seed(options.draw))
    exponents = LowRankExponents(
        left=weight.new_zeros((n, rank), dtype=torch.float32),
        right=((2 * drawn - 1) / k**0.5).to(weight.device),
        rows=weight.new_zeros((n, 1), dtype=torch.float32),
        columns=weight.new_zeros((1, k), dtype=torch.float32),
    )
    return first_steps(weight, hessian, exponents, options)
