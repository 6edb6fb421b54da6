"""Documents validated by pydantic: YAML ones that ship with the project or that a user gives, and JSON results."""

import json
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from hw.artifact import read_artifact
from hw.errors import InputError, did_you_mean

__all__ = [
    "Record",
    "load_document",
    "load_json",
    "load_mapping",
    "load_named",
    "names_in",
    "read_record",
    "record_of",
    "validate_document",
]

Model = TypeVar("Model", bound=BaseModel)

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it: ten times as fast


class Record(BaseModel):
    """Base of every config, job, artifact and report: a field never changes once set, and unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def validate_document(value: object, model: type[Model], origin: str) -> Model:
    """Validate ``value`` as ``model``; the first faulty field is named with ``origin``, its value and what is allowed.

    Raises:
        InputError: one line, whatever the number of faults.
    """
    if not isinstance(value, dict):
        raise InputError(f"{origin}: must be a mapping of fields, not {type(value).__name__}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InputError(f"{origin}: {_first_fault(error, model)}") from None


def load_document(path: Path, model: type[Model]) -> Model:
    """Read one YAML file as ``model``.

    Raises:
        InputError: missing file, bad YAML, unknown or wrong field.
    """
    return validate_document(_read_yaml(path), model, str(path))


def load_mapping(path: Path) -> dict:
    """Read one YAML file of fields that are validated later.

    Raises:
        InputError: missing file, bad YAML, anything but a mapping.
    """
    value = _read_yaml(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: must be a mapping of fields, not {type(value).__name__}")
    return value


def _read_yaml(path: Path) -> object:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: must be UTF-8 YAML text, not binary data") from None
    try:
        return yaml.load(text, Loader=_LOADER)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f" line {line + 1}" if line is not None else ""
        raise InputError(f"{path}:{where} is not valid YAML ({getattr(error, 'problem', error)})") from None


def load_json(path: Path, model: type[Model]) -> Model:
    """Read one JSON file as ``model``.

    Raises:
        InputError: missing file, bad JSON, unknown or wrong field.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    return validate_document(value, model, str(path))


def read_record(path: Path, schema: str, version: int, model: type[Model], remedy: str) -> Model:
    """Read a JSON artifact of ``hw.artifact.write_artifact`` as ``model``; ``remedy`` ends every error message.

    Raises:
        InputError: a file that ``hw.artifact.read_artifact`` refuses, a missing or wrong field.
    """
    return record_of(read_artifact(path, schema, version, remedy), model, path, remedy)


def record_of(artifact: dict, model: type[Model], path: Path, remedy: str) -> Model:
    """The fields of ``model`` among those of an artifact, which also holds a header and may hold derived figures.

    Raises:
        InputError: a missing or wrong field.
    """
    fields = {name: artifact[name] for name in model.model_fields if name in artifact}
    try:
        return validate_document(fields, model, str(path))
    except InputError as error:
        raise InputError(f"{error}; {remedy}") from None


def names_in(folder: Path) -> list[str]:
    """Names of the YAML documents that ship in ``folder``, sorted."""
    return sorted(path.stem for path in folder.glob("*.yaml"))


def load_named(name: str, folder: Path, model: type[Model], what: str) -> Model:
    """Load ``folder/name.yaml``, or the file ``name`` when it ends in ``.yaml`` or ``.yml``.

    Raises:
        InputError: unknown name (the known ones are listed), or a faulty document.
    """
    if name.endswith((".yaml", ".yml")):
        return load_document(Path(name), model)
    if name not in (known := names_in(folder)):
        meant = did_you_mean(name, known)
        raise InputError(f"{what} must be one of {', '.join(known)} or a .yaml file, not {name!r}{meant}")
    return load_document(folder / f"{name}.yaml", model)


def _first_fault(error: ValidationError, model: type[BaseModel]) -> str:
    """One line for the first of pydantic's faults; unknown fields come with the known ones."""
    faults = error.errors(include_url=False)
    fault = faults[0]
    field = ".".join(str(part) for part in fault["loc"])
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    if fault["type"] == "extra_forbidden":
        known = ""
        if len(fault["loc"]) == 1:
            known = f"; known fields: {', '.join(model.model_fields)}{did_you_mean(field, model.model_fields)}"
        return f"unknown field {field!r} = {fault['input']!r}{known}{more}"
    if fault["type"] == "missing":
        return f"field {field!r} is missing{more}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not field:
        return f"{message}{more}"
    return f"field {field!r} {message}, not {fault['input']!r}{more}"
