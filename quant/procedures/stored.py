"""Weights that are ternary already: trits and scales are taken from the file as they are."""

from itertools import groupby

from quant.native.checkpoint import native_solutions
from quant.procedures.work import Work, Written
from quant.weights.checkpoint import write_checkpoint

__all__ = ["store_model"]


def store_model(work: Work) -> Written:
    """The trits and scales of a native ternary checkpoint, a part per layer.

    Raises:
        InputError: a linear that is missing, damaged or not ternary, named.
    """
    loaded, written = work.loaded, []
    for layer, found in groupby(native_solutions(loaded.path, loaded.shape), key=lambda item: item[0][0]):
        written.append(work.parts / f"{layer}.safetensors")
        write_checkpoint(written[-1], dict(found))
        work.progress("store", layer + 1, loaded.shape.layers)
    return Written(written, {})
