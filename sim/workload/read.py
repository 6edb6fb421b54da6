"""``read_workload``: whichever of the known formats a file has."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hw.document import parse_yaml
from hw.errors import InputError
from sim.workload.accelforge import read_einsums, rendered
from sim.workload.products import Workload
from sim.workload.tables import read_table
from sim.workload.timeloop import read_problem
from sim.workload.zigzag import read_layers, read_python

__all__ = ["read_workload"]

_KINDS = "a .csv (name,m,n,k, or a SCALE-Sim topology), a .yaml (ZigZag, Timeloop or AccelForge) or a .py (ZigZag) file"


def read_workload(path: Path, fields: Mapping[str, Any] | None = None) -> Workload:
    """The products of ``path``; ``fields``: variables of a template.

    Raises:
        InputError: a file that cannot be read, of an unknown kind, or faulty, by line or layer; fields that it lacks.
    """
    if path.suffix not in (".csv", ".yaml", ".yml", ".py"):
        raise InputError(f"workload must be {_KINDS}, not {str(path)!r}")
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: must be UTF-8 text, not binary data") from None
    for name in fields or {}:
        if "{" not in text or name not in text:
            raise InputError(
                f"{path}: must have a variable {name} in its template, as workload_fields says, and has none"
            )
    if path.suffix == ".csv":
        return read_table(path, text)
    if path.suffix == ".py":
        return read_python(path, text)
    value = parse_yaml(path, rendered(path, text, fields or {}))
    if isinstance(value, list):
        return read_layers(path, value)
    if isinstance(value, Mapping) and "problem" in value:
        return read_problem(path, value["problem"])
    if isinstance(value, Mapping) and "workload" in value:
        return read_einsums(path, value["workload"])
    raise InputError(
        f"{path}: must be a list of layers (ZigZag), or have a field problem (Timeloop) or workload (AccelForge)"
    )
