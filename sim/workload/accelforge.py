"""AccelForge's workloads: einsums over named ranks, in YAML behind a Jinja template.

Ref: AccelForge 1.0.467, ``frontend/workload.py`` and its guide: an einsum is a string such as
``V[b, m, h] = I[b, m, d] * W[h, d]`` or a list of ``tensor_accesses``; a variable ``m`` runs over the rank ``M`` of
``rank_sizes`` unless ``iteration_space_shape`` bounds it.
"""

import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import StrictUndefined, TemplateError
from jinja2.sandbox import SandboxedEnvironment

from hw.errors import InputError
from sim.workload.einsum import product_of
from sim.workload.products import Workload, known_fields, workload_of

__all__ = ["read_einsums", "rendered"]

_FIELDS = ("version", "rank_sizes", "iteration_space_shape", "bits_per_value", "persistent_tensors", "einsums",
           "n_instances", "shape")  # fmt: skip
_EINSUM_FIELDS = ("name", "einsum", "tensor_accesses", "renames", "iteration_space_shape", "is_copy_operation",
                  "n_instances", "rank_sizes", "shape", "bits_per_value", "persistent_tensors")  # fmt: skip
_TENSOR = re.compile(r"(\w+)\s*\[([^\[\]]*)\]")
_BOUNDS = re.compile(r"\s*(\d+)\s*<=\s*(\w+)\s*<\s*([\d\s*]+)")


class _Tensor(NamedTuple):
    name: str
    variables: frozenset[str]
    is_output: bool


def rendered(path: Path, text: str, fields: Mapping[str, Any]) -> str:
    """``text`` with its template filled in by ``fields``; a file without one stays as it is.

    Raises:
        InputError: a variable that is not given, or a statement that Jinja does not have.
    """
    if "{%" not in text and "{{" not in text:
        return text
    try:
        return SandboxedEnvironment(undefined=StrictUndefined).from_string(text).render(**fields)
    except TemplateError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: {reason}; give a variable as --workload-fields BATCH_SIZE=1") from None
    except (ArithmeticError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{path}: its template cannot be filled in ({error})") from None


def read_einsums(path: Path, workload: object) -> Workload:
    """The workload of a list of einsums; those of one or three inputs are left out, and said so.

    Raises:
        InputError: an unknown field, an einsum that cannot be read, a variable without a size.
    """
    fields = known_fields(f"{path}, workload", workload, _FIELDS)
    einsums = fields.get("einsums")
    if not isinstance(einsums, list):
        raise InputError(f"{path}: workload.einsums must be a list, not {einsums!r}")
    products, left_out = [], []
    for place, given in enumerate(einsums):
        einsum = (
            {"einsum": given}
            if isinstance(given, str)
            else known_fields(f"{path}, einsum {place}", given, _EINSUM_FIELDS)
        )
        tensors = list(_tensors(path, place, einsum))
        name = str(einsum.get("name") or next((one.name for one in tensors if one.is_output), f"einsum {place}"))
        product = _product(path, name, einsum, tensors, fields)
        if product is None:
            left_out.append(name)
        else:
            products.append((f"einsum {name}", product))
    return workload_of(path.stem, str(path), products, left_out)


def _product(
    path: Path, name: str, einsum: Mapping[str, Any], tensors: list[_Tensor], workload: Mapping[str, Any]
) -> dict[str, Any] | None:
    inputs = [one for one in tensors if not one.is_output]
    outputs = [one for one in tensors if one.is_output]
    if einsum.get("is_copy_operation") or len(inputs) != 2 or len(outputs) != 1:
        return None
    if isinstance(text := einsum.get("einsum"), str) and "*" not in _TENSOR.sub("", text):
        return None
    renames = einsum.get("renames")
    renames = renames if isinstance(renames, Mapping) else {}
    weights = next((one for one in inputs if renames.get("weight") == one.name), None)
    if weights is None:
        known = [one for one in inputs if renames.get("input") != one.name] or inputs
        weights = next((one for one in known if one.name.startswith("W")), known[-1])
    (activations,) = (one for one in inputs if one is not weights)
    sizes = _sizes(path, name, frozenset().union(*(one.variables for one in tensors)), einsum, workload)
    product = product_of(name, sizes, activations.variables, weights.variables, outputs[0].variables)
    times = math.prod(_number(path, name, one.get("n_instances", 1)) for one in (einsum, workload))
    return None if product is None else product | {"count": product["count"] * times}


def _tensors(path: Path, place: int, einsum: Mapping[str, Any]) -> Iterator[_Tensor]:
    """Of the string, whose left side is the output, or of the list of accesses."""
    if isinstance(text := einsum.get("einsum"), str):
        left, equals, right = text.partition("=")
        found = [(one, True) for one in _TENSOR.findall(left)] + [(one, False) for one in _TENSOR.findall(right)]
        for (name, indexes), is_output in found:
            yield _Tensor(name, _variables(indexes.split(",")), is_output)
        if not equals or not found:
            raise InputError(f"{path}, einsum {place}: must be such as 'C[m, n] = A[m, k] * B[n, k]', not {text!r}")
        return
    accesses = einsum.get("tensor_accesses")
    if not isinstance(accesses, list) or not all(isinstance(one, Mapping) for one in accesses):
        raise InputError(f"{path}, einsum {place}: must have a string 'einsum' or a list 'tensor_accesses'")
    for access in accesses:
        projection = access.get("projection")
        indexes = projection.values() if isinstance(projection, Mapping) else projection
        if not isinstance(indexes, list) and not isinstance(projection, Mapping):
            raise InputError(f"{path}, einsum {place}: projection of {access.get('name')!r} must be a list or mapping")
        yield _Tensor(str(access.get("name")), _variables(map(str, indexes)), bool(access.get("output")))


def _variables(indexes: Any) -> frozenset[str]:
    """Of ``m``, ``M: p`` and ``H: p * 2 + r``: the words after the colon."""
    return frozenset(word for one in indexes for word in re.findall(r"[A-Za-z_]\w*", str(one).rpartition(":")[2]))


def _sizes(
    path: Path, name: str, variables: frozenset[str], einsum: Mapping[str, Any], workload: Mapping[str, Any]
) -> dict[str, int]:
    bounds: dict[str, int] = {}
    ranks: dict[str, Any] = {}
    for scope in (workload, einsum):
        for bound in (*_bounds(scope.get("shape")), *_bounds(scope.get("iteration_space_shape"))):
            if found := _BOUNDS.match(bound):
                low, variable, high = found.groups()
                bounds[variable] = _number(path, name, high) - int(low)
        ranks |= scope.get("rank_sizes") or {}
    sizes = {}
    for variable in sorted(variables):
        if variable not in bounds and variable.upper() not in ranks:
            raise InputError(
                f"{path}, einsum {name}: variable {variable!r} must have a size: rank_sizes {variable.upper()}"
            )
        sizes[variable] = bounds[variable] if variable in bounds else _number(path, name, ranks[variable.upper()])
        if sizes[variable] < 1:
            raise InputError(f"{path}, einsum {name}: size of {variable!r} must be at least 1, not {sizes[variable]}")
    return sizes


def _bounds(given: object) -> list[str]:
    values = given.values() if isinstance(given, Mapping) else given if isinstance(given, list) else []
    return [str(one) for one in values]


def _number(path: Path, name: str, value: object) -> int:
    """A whole number, or a product such as ``128*32``."""
    parts = [part.strip() for part in str(value).split("*")]
    if not all(part.isdecimal() and len(part) <= 12 for part in parts):
        raise InputError(f"{path}, einsum {name}: a size must be a whole number or a product of some, not {value!r}")
    return math.prod(map(int, parts))
