"""An embedding or head table in balanced-ternary digits: rounded here, or the integers that a run has trained."""

import numpy as np
import torch

from hw.errors import InputError
from hw.token.table import Table, table_constants
from quant.methods.digits import fit_table
from quant.weights.stored_table import StoredTable

__all__ = ["stored_constants", "table_in_digits"]


def stored_constants(table: StoredTable, fraction: int) -> Table:
    """The very integers of a run's table, for words of ``fraction`` bits; row scales keep 12 of their bits, all there.

    Raises:
        InputError: row scales too far apart for logits, or sums that may leave the accumulator.
    """
    rows, spread, mean = (part.astype(np.float64) for part in (table.rows, table.spread, table.mean))
    return table_constants(table.codes, table.digits, rows, spread, mean, fraction)


def table_in_digits(weight: torch.Tensor, digits: int, fraction: int) -> Table:
    """``W[v, c] ~ a_v * b_c * d[v, c] + mu_c`` of a real table ``(vocabulary, n)``, for words of ``fraction`` bits.

    mu is the mean row, b the root mean square of what is left of a channel, a fitted to each row's balanced rest.

    Raises:
        InputError: a number of digits that a table cannot have, or sums that may leave the accumulator.
    """
    if not 1 <= digits <= 5:
        raise InputError(f"table digits must be 1 to 5, not {digits}")
    fit = fit_table(weight, digits)
    steps, spread, mean = (part.double().numpy() for part in (fit.steps, fit.spread, fit.mean))
    return table_constants(fit.codes.numpy(), digits, steps, spread, mean, fraction)
