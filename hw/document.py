"""Documents validated by pydantic: YAML ones that ship with the project or that a user gives, and JSON results."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, ClassVar, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from yaml.nodes import MappingNode, Node, ScalarNode

from hw.artifact import read_artifact
from hw.errors import InputError, did_you_mean

__all__ = [
    "Record",
    "kinds_of",
    "load_document",
    "load_json",
    "load_mapping",
    "load_named",
    "names_in",
    "parse_yaml",
    "read_record",
    "record_of",
    "validate_document",
]

Model = TypeVar("Model", bound=BaseModel)

_SHOWN_CHARACTERS = 200  # of a refused value
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml where PyYAML was built with it: ten times as fast
_MOST_NODES = 200_000  # with every alias counted as what it stands for; shipped documents have some hundred
_OTHER_BASE = re.compile(r"[-+]?(0[0-9_]+$|[0-9_]+:)")
_MERGE = "tag:yaml.org,2002:merge"


class Record(BaseModel):
    """Base of every config, job, artifact and report: a field never changes once set, and unknown ones are refused.

    ``file_schema``: what the line ``schema:`` of a YAML file of this record says, such as ``tritforge.array.1``; the
    number is raised when a field changes its meaning. A file without the line is taken as of version 1.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    file_schema: ClassVar[str | None] = None


def validate_document(value: object, model: type[Model], origin: str) -> Model:
    """Validate ``value`` as ``model``; the first faulty field is named with ``origin``, its value and what is allowed.

    Raises:
        InputError: one line, whatever the number of faults.
    """
    if not isinstance(value, dict):
        raise InputError(f"{origin}: must be a mapping of fields, not {type(value).__name__}")
    for field, truth in _truths(value, model):
        raise InputError(f"{origin}: field {field!r} must be a number, not {str(truth).lower()}")
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise InputError(f"{origin}: {_first_fault(error, model)}") from None


def _truths(value: Mapping[str, object], model: type[BaseModel], inside: str = "") -> Iterator[tuple[str, bool]]:
    """Fields that are true or false where numbers are wanted; pydantic would take them as 1 and 0."""
    for name, given in value.items():
        if (field := model.model_fields.get(name)) is None:
            continue
        kinds = kinds_of(field.annotation)
        if isinstance(given, bool) and bool not in kinds and (int in kinds or float in kinds):
            yield f"{inside}{name}", given
        if isinstance(given, dict):
            for kind in kinds:
                if isinstance(kind, type) and issubclass(kind, BaseModel):
                    yield from _truths(given, kind, f"{inside}{name}.")


def kinds_of(annotation: object) -> list[object]:
    """What a field of this annotation may be, but None: types, or the values of a ``Literal``."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return kinds_of(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [kind for part in get_args(annotation) if part is not NoneType for kind in kinds_of(part)]
    if origin is Literal:
        return list(get_args(annotation))
    return [origin or annotation]


def load_document(path: Path, model: type[Model]) -> Model:
    """Read one YAML file as ``model``.

    Raises:
        InputError: missing file, bad YAML, unknown or wrong field.
    """
    return validate_document(_of_schema(_read_yaml(path), getattr(model, "file_schema", None), path), model, str(path))


def load_mapping(path: Path, schema: str) -> dict:
    """Read one YAML file of fields that are validated later; it may say ``schema`` in a line of that name.

    Raises:
        InputError: missing file, bad YAML, anything but a mapping, another schema.
    """
    value = _read_yaml(path)
    if not isinstance(value, dict):
        raise InputError(f"{path}: must be a mapping of fields, not {type(value).__name__}")
    fields = _of_schema(value, schema, path)
    assert isinstance(fields, dict)  # as it came, but for the schema's line
    return fields


def _of_schema(value: object, schema: str | None, path: Path) -> object:
    """``value`` without its line ``schema``, where it has one.

    Raises:
        InputError: a schema that is not ``schema``: a file of another kind, or of a version that this program lacks.
    """
    if schema is None or not isinstance(value, dict) or "schema" not in value:
        return value
    if value["schema"] != schema:
        kind = schema.rpartition(".")[0]
        raise InputError(
            f"{path}: schema must be {schema}, not {_shown(value['schema'])}; give a file of kind {kind}, or leave "
            "the line out if it is one"
        )
    return {name: field for name, field in value.items() if name != "schema"}


def load_json(path: Path, model: type[Model]) -> Model:
    """Read one JSON file as ``model``.

    Raises:
        InputError: missing file, bad JSON, unknown or wrong field.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
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


def load_named(name: str, folder: Path, model: type[Model], what: str, others: Iterable[str] = ()) -> Model:
    """Load ``folder/name.yaml``, or the file ``name`` when it ends in ``.yaml`` or ``.yml``.

    ``others``: names that the caller knows beside those of the folder.

    Raises:
        InputError: unknown name (the known ones are listed), or a faulty document.
    """
    if name.endswith((".yaml", ".yml")):
        return load_document(Path(name), model)
    if name not in names_in(folder):
        known = [*names_in(folder), *others]
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
        if fields := _fields_at(model, fault["loc"][:-1]):
            known = f"; known fields: {', '.join(fields)}{did_you_mean(str(fault['loc'][-1]), fields)}"
        return f"unknown field {field!r} = {_shown(fault['input'])}{known}{more}"
    if fault["type"] == "missing":
        return f"field {field!r} is missing{more}"
    message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if not field:
        return f"{message}{more}"
    return f"field {field!r} {message}, not {_shown(fault['input'])}{more}"


def _fields_at(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    """Fields of the record under ``path`` of a ``model``; none where it is no field's own record."""
    for part in path:
        field = model.model_fields.get(str(part))
        kinds = kinds_of(field.annotation) if field else []
        records = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if len(records) != 1:
            return []
        model = records[0]
    return list(model.model_fields)


def _shown(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."


class _Refused(yaml.YAMLError):
    """YAML that is well formed and not accepted."""

    def __init__(self, problem: str, node: Node) -> None:
        super().__init__(problem)
        self.problem, self.problem_mark = problem, node.start_mark


class _Loader(_LOADER):  # type: ignore[misc, valid-type]
    """The safe loader that refuses a key given twice, and aliases that stand for more than a document can hold."""

    def get_single_data(self) -> object:
        """The document's value, once its nodes have been looked at."""
        node = self.get_single_node()
        if node is None:
            return None
        _check(node)
        return self.construct_document(node)


def _read_yaml(path: Path) -> object:
    """The value of one YAML file.

    Raises:
        InputError: a file that cannot be read, is not UTF-8 or not YAML, gives a key twice, or unfolds without bound.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: must be UTF-8 YAML text, not binary data") from None
    return parse_yaml(path, text)


def parse_yaml(path: Path, text: str) -> object:
    """The value of ``text``, which was read from ``path``.

    Raises:
        InputError: text that is not YAML, gives a key twice, or unfolds without bound.
    """
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", None)
        where = f" line {line + 1}" if line is not None else ""
        raise InputError(f"{path}:{where} is not valid YAML ({_problem(error)})") from None
    except (ValueError, RecursionError) as error:  # a number, date or base64 text that Python cannot hold
        raise InputError(f"{path}: holds a value that cannot be read ({error})") from None


def _problem(error: yaml.YAMLError) -> str:
    """What is wrong, on one line."""
    return " ".join(str(getattr(error, "problem", None) or error).split())


def _check(root: Node) -> None:
    """Look at every node once, children first.

    Raises:
        _Refused: a duplicate key, a node that holds itself, or more than ``_MOST_NODES`` nodes after aliases.
    """
    sizes: dict[int, int] = {}  # node -> nodes under it, aliases unfolded
    open_nodes: set[int] = set()  # those whose children are being looked at
    stack = [(root, False)]
    while stack:
        node, seen = stack.pop()
        if seen:
            open_nodes.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(child)] for child in _children(node))
            if sizes[id(node)] > _MOST_NODES:
                raise _Refused(f"must unfold to at most {_MOST_NODES} values, aliases counted as what they name", node)
        elif id(node) in open_nodes:
            raise _Refused("an alias must not stand inside what it names", node)
        elif id(node) not in sizes:
            if isinstance(node, MappingNode):
                _check_keys(node)
            _check_base(node)
            open_nodes.add(id(node))
            stack.append((node, True))
            stack += [(child, False) for child in _children(node)]


def _children(node: Node) -> Iterator[Node]:
    if isinstance(node, MappingNode):
        return (part for pair in node.value for part in pair)
    return iter(()) if isinstance(node, ScalarNode) else iter(node.value)


def _check_base(node: Node) -> None:
    """Refuse numbers that YAML 1.1 reads in base 8 or 60, which nobody means who writes 010 or 1:30."""
    if isinstance(node, ScalarNode) and node.tag.endswith((":int", ":float")) and _OTHER_BASE.match(node.value):
        raise _Refused(f"number {node.value!r} would be read in base {60 if ':' in node.value else 8}", node)


def _check_keys(node: MappingNode) -> None:
    """Refuse a key that stands twice in one mapping; YAML would keep the last value without a word."""
    first: dict[tuple[str, str], int] = {}
    for key, _ in node.value:
        if isinstance(key, ScalarNode) and key.tag != _MERGE:
            line = key.start_mark.line + 1
            if before := first.get(name := (key.tag, key.value)):
                raise _Refused(f"key {key.value!r} is given twice, first in line {before}; keep one of them", key)
            first[name] = line
