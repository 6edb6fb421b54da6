"""Options out of pydantic models: one for each field, with the field's name, type, default and description.

A field ``prefill_chunk`` is ``--prefill-chunk`` on a command line, ``PREFILL_CHUNK=`` for make and ``prefill_chunk`` in
YAML and Python. Where a field is a model itself (``host``), ``--host FILE`` reads it from YAML and ``--host-latency-s``
sets a field of it. Values are checked by the model alone, so that the four ways in accept and refuse the same.
"""

import json
from argparse import SUPPRESS, Action, ArgumentParser, BooleanOptionalAction, Namespace, _ArgumentGroup
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hw.document import kinds_of, load_document, load_mapping, validate_document
from hw.errors import InputError, did_you_mean

__all__ = ["add_fields", "add_job_file", "given_fields", "options_of", "options_origin"]

_JOB_SCHEMA = "tritforge.job.1"  # of --job FILE, whatever the command
_METAVARS = {int: "N", float: "X", Path: "FILE"}


class _Once(Action):
    """Store a value; a second one is refused instead of replacing the first."""

    def __call__(self, parser: ArgumentParser, options: Namespace, value: object, flag: str | None = None) -> None:
        if hasattr(options, self.dest):
            parser.error(f"{flag} was given twice: {getattr(options, self.dest)} and {value}")
        setattr(options, self.dest, value)


def add_fields(
    parser: ArgumentParser, model: type[BaseModel], title: str | None = None, leave_out: Iterable[str] = ()
) -> None:
    """Add an option to ``parser`` for each field of ``model`` but those of ``leave_out``, under the heading ``title``.

    Options that are not given leave nothing in the parsed options: ``given_fields`` returns the others.
    """
    group = parser.add_argument_group(title) if title else parser
    for name, field in model.model_fields.items():
        if name not in leave_out:
            _add_field(group, name, field)


def add_job_file(parser: ArgumentParser, what: str) -> None:
    """Add ``--job FILE``, a YAML file with fields of ``what``; options take precedence over it."""
    parser.add_argument(
        "--job", type=Path, metavar="FILE", help=f"YAML file with fields of {what}; options given beside it go first"
    )


def given_fields(options: Namespace, *models: type[BaseModel]) -> list[dict[str, object]]:
    """What the file ``--job`` and the options say, per model: field -> value, only those that were given.

    Raises:
        InputError: a file that cannot be read or has a field of none of the ``models``; a pair without ``=``.
    """
    path = getattr(options, "job", None)
    filed = load_mapping(path, _JOB_SCHEMA) if path else {}
    known = [name for model in models for name in model.model_fields]
    for name in filed:
        if name not in known:
            meant = did_you_mean(str(name), known)
            raise InputError(f"{path}: unknown field {name!r}{meant}; known fields: {', '.join(known)}")
    return [
        {name: value for name, value in filed.items() if name in model.model_fields} | _of_options(options, model)
        for model in models
    ]


def options_of(record: BaseModel, leave_out: Iterable[str] = (), prefix: str = "") -> list[str]:
    """The words that say what ``record`` holds beyond its defaults: ``given_fields`` of them gives it back."""
    words: list[str] = []
    for name, field in type(record).model_fields.items():
        value = getattr(record, name)
        if name in leave_out or value == field.get_default(call_default_factory=True):
            continue
        flag = f"--{(prefix + name).replace('_', '-')}"
        if isinstance(value, BaseModel):
            words += options_of(value, prefix=f"{prefix}{name}_")
        elif isinstance(value, bool):
            words.append(flag if value else f"--no-{flag.removeprefix('--')}")
        elif isinstance(value, dict):
            words += [word for key, one in value.items() for word in (flag, f"{key}={_as_value(one)}")]
        elif isinstance(value, tuple | list):
            words += [word for one in value for word in (flag, str(one))]
        elif value is not None:
            words += [flag, str(value)]
    return words


def options_origin(options: Namespace) -> str:
    """What errors name as the place of a faulty field."""
    path = getattr(options, "job", None)
    return f"{path} and options" if path else "options"


def _add_field(group: ArgumentParser | _ArgumentGroup, name: str, field: FieldInfo, prefix: str = "") -> None:
    flag, kinds = f"--{(prefix + name).replace('_', '-')}", kinds_of(field.annotation)
    settings: dict[str, object] = {"dest": prefix + name, "default": SUPPRESS, "help": _help(field)}
    first, *_ = kinds
    if first is bool:
        group.add_argument(flag, action=BooleanOptionalAction, **settings)
    elif isinstance(first, type) and issubclass(first, BaseModel):
        settings["help"] = f"{_help(field)}, as a YAML file"
        group.add_argument(flag, action=_Once, type=Path, metavar="FILE", **settings)
        for inner, inner_field in first.model_fields.items():
            _add_field(group, inner, inner_field, f"{prefix}{name}_")
    elif first in (dict, tuple):
        settings["help"] = f"{_help(field)}; repeat for more"
        group.add_argument(flag, action="append", metavar=_repeated(name, field), **settings)
    elif not isinstance(first, type):  # choices
        group.add_argument(flag, action=_Once, type=type(first), choices=kinds, metavar=_choices(kinds), **settings)
    else:
        metavar = _METAVARS.get(first, name.rpartition("_")[2].upper())
        group.add_argument(flag, action=_Once, metavar=metavar, **settings)


def _repeated(name: str, field: FieldInfo) -> str:
    """What stands for one value of a dictionary or tuple in the help."""
    if kinds_of(field.annotation)[0] is dict:
        return "NAME=VALUE"
    return "FILE" if Path in get_args(field.annotation) else name.upper()


def _choices(values: Sequence[object]) -> str:
    return "{" + ",".join(map(str, values)) + "}"


def _help(field: FieldInfo) -> str:
    """The description, and the default where it is a plain value."""
    text, default = field.description or "", field.default
    if isinstance(default, bool):
        text += f" (default: {'on' if default else 'off'})"
    elif isinstance(default, int | float | str) and default:
        text += f" (default: {default})"
    return text.replace("%", "%%")


def _of_options(options: Namespace, model: type[BaseModel], prefix: str = "") -> dict[str, object]:
    """Fields of ``model`` that were given as options."""
    found: dict[str, object] = {}
    for name, field in model.model_fields.items():
        kind, value = kinds_of(field.annotation)[0], getattr(options, prefix + name, None)
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            inner = _of_options(options, kind, f"{prefix}{name}_")
            if value is not None or inner:
                base = load_document(Path(str(value)), kind).model_dump() if value is not None else {}
                found[name] = validate_document(base | inner, kind, f"--{name}")
        elif value is not None:
            found[name] = _pairs(prefix + name, value) if kind is dict else _number(kind, value)
    return found


def _number(kind: object, text: object) -> object:
    """``text`` as a number where the field wants one and it is one, so that errors show it as such."""
    if kind not in (int, float):
        return text
    try:
        return kind(text)  # type: ignore[operator]
    except ValueError:
        return text


def _as_value(value: object) -> str:
    """What ``_pairs`` reads as ``value``: a word stays one unless it would be taken for JSON."""
    if not isinstance(value, str):
        return json.dumps(value)
    try:
        json.loads(value)
    except json.JSONDecodeError:
        return value
    return json.dumps(value)


def _pairs(name: str, given: Sequence[str]) -> Mapping[str, object]:
    """``NAME=VALUE`` pairs; values as JSON where they are (``0.1``, ``64``, ``null``), else as words."""
    pairs: dict[str, object] = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InputError(f"{name} must be NAME=VALUE, not {text!r}")
        if key in pairs:
            raise InputError(f"{name} must have {key!r} once, not twice; keep one of them")
        try:
            pairs[key] = json.loads(value)
        except json.JSONDecodeError:
            pairs[key] = value
    return pairs
