"""``python -m tests.declared``: every constant, default and bound that the packages declare, one line each, as text.

``tests/declared.txt`` holds them a second time. No run of the program can tell a wrong constant from a right one
where nothing else says what it is, and a default that moves changes people's numbers without a word; so either is
changed in two places, and a reader of the change sees it. What is right about them is said beside them (their source)
and in the tests of what they enter.
"""

import ast
import dataclasses
import enum
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FunctionType, MappingProxyType, ModuleType
from typing import Any

import numpy as np
from annotated_types import Ge, Gt, Le, Lt, MaxLen, MinLen, MultipleOf
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from hw.artifact import write_text
from tests.mutation.sample import files

WRITTEN = Path(__file__).with_name("declared.txt")
PACKAGES = ("hw", "quant", "sim", "energy")
_STATES = ("_State",)  # classes whose attributes change while the program runs
_MACHINERY = ("__", "_abc", "_is_", "_field", "model_")  # attributes that a class is given by what it is made with
_LONGEST = 2000  # characters of a line: what is longer is data
_PROSE = 60  # characters of a text that is read by people; its words are no constant


def modules() -> list[str]:
    """Names of the modules that compute numbers which users read."""
    return [path.removesuffix(".py").replace("/", ".") for path in files()]


def declared(name: str) -> list[str]:
    """Lines of the module ``name``; ModuleNotFoundError where what it imports is not installed."""
    module = importlib.import_module(name)
    lines = [f"{name}.{what} = {text}" for what, text in _of_module(module) if len(text) < _LONGEST]
    return sorted(set(lines))


def _of_module(module: ModuleType) -> Iterator[tuple[str, str]]:
    tree = ast.parse(Path(module.__file__ or "").read_text(encoding="utf-8"))
    for statement in tree.body:
        targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
        for target in targets:
            for part in target.elts if isinstance(target, ast.Tuple) else [target]:
                if isinstance(part, ast.Name) and part.id != "__all__" and hasattr(module, part.id):
                    value = getattr(module, part.id)
                    named = value.items() if isinstance(value, dict | MappingProxyType) else ()
                    for name, text in [
                        (part.id, _text(value)),
                        *((f"{part.id}[{_text(k)}]", _text(v)) for k, v in named),
                    ]:
                        if text and not (named and name == part.id):
                            yield name, text
    for name, value in vars(module).items():
        here = inspect.unwrap(value) if callable(value) else value
        if getattr(here, "__module__", None) != module.__name__:
            continue
        if isinstance(here, type):
            yield from _of_class(here)
        elif isinstance(here, FunctionType):
            yield from _of_function(name, here)


def _of_class(kind: type) -> Iterator[tuple[str, str]]:
    fields: dict[str, Any] = {}
    if issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            default = field.default if field.default_factory is None else field.default_factory()  # type: ignore[call-arg]
            bounds = " ".join(sorted(_text(bound) for bound in field.metadata))
            stated = "" if default is PydanticUndefined else _text(default)
            fields[name] = f"{stated}; {bounds}" if bounds else stated
    elif dataclasses.is_dataclass(kind):
        parameters = kind.__dataclass_params__  # type: ignore[attr-defined]
        yield kind.__name__, f"dataclass frozen={parameters.frozen}"
        for one in dataclasses.fields(kind):
            fields[one.name] = "" if one.default is dataclasses.MISSING else _text(one.default)
    elif issubclass(kind, enum.Enum):
        fields = {one.name: _text(one.value) for one in kind}
    else:
        fields = {name: _text(value) for name, value in getattr(kind, "_field_defaults", {}).items()}
    for name, text in fields.items():
        if text:
            yield f"{kind.__name__}.{name}", text
    for name, value in vars(kind).items():
        method = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if (isinstance(method, FunctionType) and not name.startswith("__")) or name == "__init__":
            yield from _of_function(f"{kind.__name__}.{name}", method)
        elif (
            name not in fields
            and not name.startswith(_MACHINERY)
            and kind.__name__ not in _STATES
            and not callable(value)
        ):
            text = _text(value)
            if text:
                yield f"{kind.__name__}.{name}", text


def _of_function(name: str, function: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(function, FunctionType):
        return
    defaults = function.__defaults__ or ()
    arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
    named = dict(zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True))
    for argument, value in (named | (function.__kwdefaults__ or {})).items():
        yield f"{name}({argument})", _text(value) or "..."


def _text(value: Any) -> str:
    """``value`` as text that is the same in every process; empty for what is no constant."""
    match value:
        case bool() | int() | float() | complex() | None:
            return repr(value)
        case str():
            return repr(value) if len(value) < _PROSE and "\n" not in value else ""
        case bytes():
            return repr(value[:_PROSE])
        case re.Pattern():
            return repr(value.pattern)
        case Path():
            return ""
        case np.ndarray():
            return repr(value.tolist())
        case enum.Enum():
            return repr(value.value)
        case BaseModel():
            return f"{type(value).__name__}({_text(value.model_dump(mode='python'))})"
        case Ge() | Gt() | Le() | Lt() | MultipleOf() | MinLen() | MaxLen():
            return repr(value)
        case dict() | MappingProxyType():
            return "{" + ", ".join(f"{_text(key)}: {_text(one) or '...'}" for key, one in value.items()) + "}"
        case set() | frozenset():
            return "{" + ", ".join(sorted(_text(one) for one in value)) + "}"
        case tuple() if hasattr(value, "_fields"):
            return f"{type(value).__name__}({', '.join(_text(one) or '...' for one in value)})"
        case tuple() | list():
            return "[" + ", ".join(_text(one) or "..." for one in value) + "]"
        case type() | FunctionType():
            return value.__qualname__ if value.__module__.partition(".")[0] in PACKAGES else ""
    if dataclasses.is_dataclass(value):
        held = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
        return f"{type(value).__name__}({_text(held)})"
    return ""


def main() -> None:
    """Write the file."""
    write_text(WRITTEN, "\n".join(line for name in modules() for line in declared(name)) + "\n")


if __name__ == "__main__":
    sys.exit(main())
