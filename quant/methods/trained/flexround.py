"""FlexRound: rounding whose divisor is learned for every weight by itself, against the transformer block's output.

Ref: Lee et al., FlexRound: Learnable Rounding based on Element-wise Division for Post-Training Quantization, ICML 2023,
arXiv 2306.00317, section 3: the divisor is ``s1 S2 s3`` with a step s1, a matrix S2 (n, k) and a factor s3 per row,
all learned in logarithms. See ``quant.methods.trained.divisors`` for what differs.
"""

from typing import NamedTuple

import torch

from quant.methods.trained.divisors import DividedWeight, DivisorOptions, first_steps

__all__ = ["FullExponents", "Options", "learned_weight"]


class Options(DivisorOptions):
    """Those of ``DivisorOptions``."""


class FullExponents(NamedTuple):
    """``each`` (n, k) and ``rows`` (n, 1), logarithms."""

    each: torch.Tensor
    rows: torch.Tensor

    def matrix(self) -> torch.Tensor:
        """Their sum."""
        return self.each + self.rows


def learned_weight(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> DividedWeight:
    """Where ``quant.procedures.blockwise`` starts: zeros, which is rounding to nearest.

    Raises:
        InputError: weights that are not finite.
    """
    each = torch.zeros_like(weight, dtype=torch.float32)
    return first_steps(weight, hessian, FullExponents(each, each[:, :1].clone()), options)
