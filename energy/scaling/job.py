"""``ScalingJob``: the models, methods, tasks and numbers of examples of a sweep; readable without torch."""

import json
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import Field, field_validator

from hw.errors import InputError
from quant.evaluation.job import TaskChoice, listed_tasks, numbers
from quant.registry import check_method

__all__ = ["MethodChoice", "ScalingJob", "method_choices"]


class MethodChoice(NamedTuple):
    """A method and options of its own: ``digits:digits=2:group=64``."""

    method: str
    options: dict[str, object]


class ScalingJob(TaskChoice):
    """A sweep over models and methods, each model also as it is."""

    models: tuple[str, ...] = Field(
        (),
        description="models between commas instead of one: a sweep, whose sets of weights are measured on TASKS and "
        "simulated; writes the scaling figure and the figure of learning in context",
    )
    tasks: tuple[str, ...] = Field(
        ("generated",),
        description="tasks of the sweep (tritforge evaluate --help); the scaling figure shows bits per byte of pages "
        "(default: generated)",
    )
    shots: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        (0, 1, 2, 3, 4, 5), description="numbers of examples, between commas (default: 0,1,2,3,4,5)"
    )
    rows: tuple[Path, ...] = Field(
        (),
        description="rows that tritforge evaluate --add wrote, here or elsewhere, which are taken instead of measured",
    )

    points: tuple[Path, ...] = Field(
        (), description="scaling.json of another sweep, whose points stand in table and figures too"
    )

    _shots = field_validator("shots", mode="before")(numbers)

    @field_validator("models")
    @classmethod
    def _names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return listed_tasks(value, "models")


def method_choices(text: str) -> list[MethodChoice]:
    """Methods between commas, each with options of its own after colons.

    Raises:
        InputError: an unknown method, or an option without a value.
    """
    found = []
    for word in text.split(","):
        method, *given = word.strip().split(":")
        check_method(method)
        options: dict[str, object] = {}
        for pair in given:
            name, equals, value = pair.partition("=")
            if not name or not equals:
                raise InputError(f"methods: options of {method} must be NAME=VALUE after a colon, not {pair!r}")
            try:
                options[name] = json.loads(value)
            except json.JSONDecodeError:
                options[name] = value
        found.append(MethodChoice(method, options))
    return found
