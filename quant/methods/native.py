"""No quantization: a checkpoint whose linears are ternary already is stored as it is (``quant.native``)."""

import torch

from hw.errors import InputError
from quant.registry import MethodOptions
from quant.weights.solution import LinearSolution

__all__ = ["Options", "solve"]


class Options(MethodOptions):
    """None: trits and scales are the file's."""


def solve(weight: torch.Tensor, hessian: torch.Tensor | None, options: Options) -> LinearSolution:
    """Refuse: there is nothing to solve.

    Raises:
        InputError: always; ``quant.native.checkpoint.native_solutions`` reads the solutions from the file.
    """
    raise InputError("method native must be given a checkpoint that is ternary already, not float weights to quantize")
