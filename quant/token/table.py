"""An embedding or head table in balanced-ternary digits: mean row out, channels balanced, a step per row."""

import torch

from hw.errors import InputError
from hw.token.table import Table, table_constants
from quant.methods.digits import fit_digits

__all__ = ["table_in_digits"]


def table_in_digits(weight: torch.Tensor, digits: int, fraction: int) -> Table:
    """``W[v, c] ~ a_v * b_c * d[v, c] + mu_c`` of a real table ``(vocabulary, n)``, for words of ``fraction`` bits.

    mu is the mean row, b the root mean square of what is left of a channel, a fitted to each row's balanced rest.

    Raises:
        InputError: a number of digits that a table cannot have, or sums that may leave the accumulator.
    """
    if not 1 <= digits <= 5:
        raise InputError(f"table digits must be 1 to 5, not {digits}")
    weight = weight.float()
    mean = weight.mean(0)
    spread = (weight - mean).square().mean(0).sqrt()
    spread = spread.clamp_min(float(spread.max()) * 2.0**-12 or 1.0)
    codes, step = fit_digits((weight - mean) / spread, digits)
    arrays = (codes.numpy(), digits, step.double().numpy(), spread.double().numpy(), mean.double().numpy())
    return table_constants(*arrays, fraction)
