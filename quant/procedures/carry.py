"""Carries a method over a model by the procedure that it declares."""

from collections.abc import Callable

from quant.methods.method import Procedure
from quant.procedures.blockwise import fit_blocks
from quant.procedures.layerwise import solve_blocks
from quant.procedures.modelwise import train_model
from quant.procedures.stored import store_model
from quant.procedures.tuned.tune import tune_model
from quant.procedures.wkvquant.fit import fit_across_blocks
from quant.procedures.work import Work, Written

__all__ = ["carry"]

_PROCEDURES: dict[Procedure, Callable[[Work], Written]] = {
    "layerwise": solve_blocks,
    "blockwise": fit_blocks,
    "modelwise": train_model,
    "tuned": tune_model,
    "crossblock": fit_across_blocks,
    "stored": store_model,
}


def carry(work: Work) -> Written:
    """Quantize every decoder linear of a model.

    Raises:
        InputError: what the method refuses, with the linear's or the block's name, or a loss that is not finite.
    """
    return _PROCEDURES[work.options.procedure](work)
