"""Timeloop's problems: one product of two tensors in YAML.

Ref: Timeloop's documentation, "Problem": ``shape`` (dimensions, data-spaces with projections) and ``instance``, whose
coefficients scale indexes and so change no product.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw.errors import InputError
from sim.workload.einsum import product_of
from sim.workload.products import Workload, known_fields, workload_of

__all__ = ["read_problem"]

_FIELDS = ("version", "shape", "instance", "name")
_SHAPE_FIELDS = ("name", "dimensions", "coefficients", "data-spaces", "data_spaces", "version")
_OUTPUT = ("read-write", "read_write")


def read_problem(path: Path, problem: object) -> Workload:
    """The workload of one problem, whose first tensor that is no output is its weights unless another is named so.

    Raises:
        InputError: a shape that is not written out, a size that is missing, more or fewer than two inputs.
    """
    fields = known_fields(f"{path}, problem", problem, _FIELDS)
    shape = known_fields(f"{path}, problem.shape", fields.get("shape"), _SHAPE_FIELDS)
    instance = fields.get("instance")
    if not isinstance(instance, Mapping):
        raise InputError(f"{path}: problem.instance must be a mapping of dimensions to sizes, not {instance!r}")
    listed = _list(path, shape, "dimensions")
    dimensions = [str(one.get("name")) if isinstance(one, Mapping) else str(one) for one in listed]
    sizes = {name: _size(path, name, instance) for name in dimensions}
    inputs, output = [], set()
    for tensor in _list(path, shape, "data_spaces" if "data_spaces" in shape else "data-spaces"):
        if not isinstance(tensor, Mapping):
            raise InputError(f"{path}: problem.shape.data-spaces must hold mappings, not {tensor!r}")
        used = {word for word in re.findall(r"\w+", str(tensor.get("projection"))) if word in sizes}
        if any(tensor.get(flag) for flag in _OUTPUT):
            output = used
        else:
            inputs.append((str(tensor.get("name")), used))
    if len(inputs) != 2 or not output:
        raise InputError(f"{path}: problem.shape must have two inputs and an output in data-spaces, not {len(inputs)}")
    inputs.sort(key=lambda one: not one[0].lower().startswith("w"))
    (_, weights), (_, activations) = inputs
    name = str(shape.get("name") or path.stem)
    product = product_of(name, sizes, activations, weights, output)
    if product is None:
        raise InputError(f"{path}: problem {name!r} must be a matrix product, and has a dimension of one tensor alone")
    return workload_of(path.stem, str(path), [("problem", product)])


def _list(path: Path, shape: Mapping[str, Any], field: str) -> list[Any]:
    if not isinstance(value := shape.get(field), list):
        raise InputError(f"{path}: problem.shape.{field} must be a list, not {value!r}")
    return value


def _size(path: Path, name: str, instance: Mapping[str, Any]) -> int:
    size = instance.get(name)
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InputError(f"{path}: problem.instance.{name} must be a whole number from 1, not {size!r}")
    return size
