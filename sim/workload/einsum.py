"""A product of two tensors as matrix products: its index variables sorted by the tensors in which they occur."""

import math
from collections.abc import Mapping, Set
from typing import Any

__all__ = ["product_of"]


def product_of(
    name: str, sizes: Mapping[str, int], inputs: Set[str], weights: Set[str], output: Set[str]
) -> dict[str, Any] | None:
    """``sum inputs[...] * weights[...] -> output[...]`` as fields of a ``Product``; None: it is no matrix product.

    A variable of all three tensors (groups, heads) counts products, one of inputs and output is a row (M), one of
    weights and output a column (N), one of inputs and weights alone is summed (K): a convolution's K are its filter
    and its channels, since ``iy = stride * oy + fy`` has both variables among its inputs'. A variable of one tensor
    alone has no place in a matrix product, nor is one what multiplies element by element.
    """
    kinds: dict[str, list[int]] = {"count": [], "m": [], "n": [], "k": []}
    for variable in inputs | weights | output:
        match variable in inputs, variable in weights, variable in output:
            case True, True, True:
                kind = "count"
            case True, False, True:
                kind = "m"
            case False, True, True:
                kind = "n"
            case True, True, False:
                kind = "k"
            case _:
                if sizes[variable] == 1:
                    continue
                return None
        kinds[kind].append(sizes[variable])
    if not kinds["k"] and not (kinds["m"] and kinds["n"]):  # element by element
        return None
    return {"name": name} | {kind: math.prod(values) for kind, values in kinds.items()}
