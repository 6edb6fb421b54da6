"""``tritforge list``: what is known by name, one table for each kind of thing."""

import ast
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from hw.document import kinds_of
from hw.pages import screen

__all__ = ["KINDS", "NAMES", "add_list"]

Rows = list[dict[str, object]]


def add_list(parser: ArgumentParser) -> None:
    """Options of ``list``."""
    parser.add_argument("what", choices=tuple(KINDS), metavar="WHAT", help=f"{', '.join(KINDS)}")
    parser.add_argument("--method", help="of the options: only those of this method")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_list)


def _list(options: Namespace) -> None:
    rows = KINDS[options.what]()
    if options.method is not None:
        rows = _of_method(options.what, options.method, rows)
    if options.json:
        print(json.dumps(rows, indent=1))
        return
    from rich.table import Table

    table = Table(box=None)
    for column, value in rows[0].items():
        table.add_column(column.replace("_", " "), justify="right" if isinstance(value, int | float) else "left")
    for row in rows:
        table.add_row(*map(_cell, row.values()))
    screen().print(table)


def _cell(value: object) -> str:
    """A whole number with its thousands apart, any other in four digits."""
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _of_method(what: str, method: str, rows: Rows) -> Rows:
    from hw.errors import InputError
    from quant.registry import check_method

    if what != "options":
        raise InputError(f"--method must stand beside the list of options, not of {what}")
    check_method(method)
    return [row for row in rows if row["method"] == method]


def _models() -> Rows:
    from quant.shapes import load_shape

    return [
        {
            "name": shape.name,
            "parameters": shape.total_parameters,
            "layers": shape.layers,
            "hidden": shape.hidden_size,
            "intermediate": shape.intermediate_size,
            "heads": shape.heads,
            "kv_heads": shape.kv_heads,
            "context": shape.max_positions,
        }
        for shape in map(load_shape, _model_names())
    ]


def _arrays() -> Rows:
    from hw.config import load_array

    fields = ("name", "rows", "cols", "organisation", "mac", "clock_hz", "description")
    return [{field: getattr(load_array(name), field) for field in fields} for name in _array_names()]


def _memories() -> Rows:
    from sim.memory import load_memory

    return [
        {
            "name": m.name,
            "standard": m.standard,
            "channels": m.channels,
            "bytes_per_s": m.bytes_per_s,
            "capacity_bytes": m.capacity_bytes,
            "source": m.source,
        }
        for m in map(load_memory, _memory_names())
    ]


def _boards() -> Rows:
    from hw.boards.catalog import BOARDS

    return [
        {
            "name": board.name,
            "family": board.family,
            "part": board.part,
            "array": f"{board.rows}x{board.cols}",
            "clock_hz": board.clock_hz,
        }
        for board in BOARDS.values()
    ]


def _methods() -> Rows:
    from quant.registry import METHODS

    return [
        {"name": name, "about": _first_line(module), "sets": ", ".join(f"{k}={v}" for k, v in fixed.items())}
        for name, (module, fixed) in METHODS.items()
    ]


def _options() -> Rows:
    from quant.registry import METHODS, load_method  # imports torch

    return [
        {
            "method": name,
            "option": option,
            "default": json.dumps(field.default),
            "values": ", ".join(
                getattr(kind, "__name__", None) or json.dumps(kind) for kind in kinds_of(field.annotation)
            ),
            "about": field.description or "",
        }
        for name in METHODS
        for option, field in load_method(name).Options.model_fields.items()
    ]


def _costs() -> Rows:
    from energy.costs.sources import load_source

    return [{"name": name, "source": load_source(name).source} for name in _cost_names()]


def _operators() -> Rows:
    from energy.costs.tables import cost_names, load_costs

    return [
        {
            "costs": table.name,
            "operator": name,
            "energy_pj": op.value,
            "kind": op.kind,
            "source": op.source or table.source,
        }
        for table in map(load_costs, cost_names())
        for name, op in table.ops_pj.items()
    ]


def _studies() -> Rows:
    from energy.study.document import load_study, study_names

    return [
        {"name": name, "points": study.points, "axes": ", ".join(study.columns), "description": study.description}
        for name, study in ((name, load_study(name)) for name in study_names())
    ]


def _first_line(module: str) -> str:
    """First line of a module's docstring, without importing it."""
    spec = find_spec(module)
    source = Path(str(spec and spec.origin)).read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]


def _model_names() -> list[str]:
    from quant.shapes import model_names

    return model_names()


def _array_names() -> list[str]:
    from hw.config import array_names

    return array_names()


def _memory_names() -> list[str]:
    from sim.memory import memory_names

    return memory_names()


def _cost_names() -> list[str]:
    from energy.costs.sources import source_names

    return source_names()


def _board_names() -> list[str]:
    from hw.boards.catalog import BOARDS

    return list(BOARDS)


def _method_names() -> list[str]:
    from quant.registry import method_names

    return method_names()


def _study_names() -> list[str]:
    from energy.study.document import study_names

    return study_names()


# What may be listed.
KINDS: dict[str, Callable[[], Rows]] = {
    "models": _models,
    "arrays": _arrays,
    "memories": _memories,
    "costs": _costs,
    "operators": _operators,
    "methods": _methods,
    "options": _options,
    "boards": _boards,
    "studies": _studies,
}

# Names that complete an option, by the option's field.
NAMES: dict[str, Callable[[], list[str]]] = {
    "model": _model_names,
    "array": _array_names,
    "memory": _memory_names,
    "costs": _cost_names,
    "board": _board_names,
    "method": _method_names,
    "methods": _method_names,
    "study": _study_names,
}
