"""Axes of a study: values as a list, or as a range with a step, a factor or a number of points in equal ratios."""

import math
from decimal import Decimal
from typing import Annotated

from pydantic import BeforeValidator, Field, WithJsonSchema

__all__ = ["MAX_POINTS", "Axis", "Value", "expand_axis"]

MAX_POINTS = 1_000_000  # of a study

Value = bool | int | float | str | None

_KINDS = ("step", "factor", "log_points")
_LARGEST = 1e300
_SLACK = 1e-9  # of a step: a last value that rounding put just beyond the end still counts

_SCALAR = {"type": ["boolean", "number", "string", "null"]}
_NUMBER = {"type": "number"}
_SCHEMA = {
    "anyOf": [
        {"type": "array", "items": _SCALAR, "minItems": 1, "description": "values to try"},
        *(
            {
                "type": "object",
                "properties": {"from": _NUMBER, "to": _NUMBER, kind: {"type": "number"}},
                "required": ["from", "to", kind],
                "additionalProperties": False,
                "description": about,
            }
            for kind, about in zip(
                _KINDS,
                (
                    "from, from + step, ... up to and with to",
                    "from, from x factor, ... up to and with to",
                    "so many values from one to the other, in equal ratios; whole ones between whole ends",
                ),
                strict=True,
            )
        ),
    ]
}


def expand_axis(given: object) -> object:
    """The values of a range; a list is returned as it is.

    Raises:
        ValueError: no values, a range without an end, that never arrives, or of more than ``MAX_POINTS`` values.
    """
    if given in ([], None):
        raise ValueError("must have at least 1 value")
    if not isinstance(given, dict):
        if isinstance(given, list) and not all(map(_can_be_tried, given)):
            raise ValueError("must hold finite numbers, names, or true and false")
        return given
    kinds = [kind for kind in _KINDS if kind in given]
    if len(kinds) != 1 or set(given) != {"from", "to", *kinds}:
        raise ValueError(f"must be a list of values, or from and to with one of {', '.join(_KINDS)}")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or not -_LARGEST < value < _LARGEST:
            raise ValueError(f"must have a number as {name!r}")
    (kind,) = kinds
    start, end, by = given["from"], given["to"], given[kind]
    if start > end:
        raise ValueError("must have 'from' at most as large as 'to'")
    if kind == "step":
        return _stepped(start, end, by)
    if start <= 0:
        raise ValueError(f"must have 'from' above 0 beside {kind!r}")
    return _multiplied(start, end, by) if kind == "factor" else _equal_ratios(start, end, by)


def _can_be_tried(value: object) -> bool:
    return math.isfinite(value) if isinstance(value, float) else isinstance(value, Value)


def _stepped(start: float, end: float, step: float) -> list[float]:
    if step <= 0:
        raise ValueError("must have 'step' above 0")
    count = _checked((end - start) / step)
    if isinstance(start, int) and isinstance(step, int):
        return [start + index * step for index in range(count)]
    first, each = Decimal(repr(start)), Decimal(repr(step))  # 0.1 + 2 x 0.1 is 0.3
    return [float(first + index * each) for index in range(count)]


def _multiplied(start: float, end: float, factor: float) -> list[float]:
    if factor <= 1:
        raise ValueError("must have 'factor' above 1")
    count = _checked((math.log(end) - math.log(start)) / math.log(factor))
    return [start * factor**index for index in range(count)]


def _equal_ratios(start: float, end: float, points: float) -> list[float]:
    if not isinstance(points, int) or points < 2:
        raise ValueError("must have a whole number of at least 2 as 'log_points'")
    count = _checked(points - 1)
    inner = [start * (end / start) ** (index / (count - 1)) for index in range(1, count - 1)]
    if isinstance(start, int) and isinstance(end, int):
        inner = [round(value) for value in inner]
    return list(dict.fromkeys([start, *inner, end]))


def _checked(steps: float) -> int:
    """Values of a range that takes ``steps`` steps from its first to its end."""
    if steps + 1 > MAX_POINTS:
        raise ValueError(f"would have {steps + 1:.3g} values and must have at most {MAX_POINTS}")
    return math.floor(steps + _SLACK) + 1


Axis = Annotated[list[Value], Field(min_length=1), BeforeValidator(expand_axis), WithJsonSchema(_SCHEMA)]
