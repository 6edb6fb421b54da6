"""The generated parts of the reference of studies: fields of a file, axes, metrics, functions of expressions."""

from collections.abc import Callable

from energy.study.document import Derived, Study
from energy.study.expressions import FUNCTIONS
from energy.study.machine import AXES, PLACEMENT
from energy.study.metrics import METRICS
from hw.pages import markdown_table

__all__ = ["STUDY_TABLES"]


def _fields() -> str:
    rows = [[f"`{name}`", field.description or ""] for name, field in Study.model_fields.items()]
    rows += [[f"`derived.NAME.{name}`", field.description or ""] for name, field in Derived.model_fields.items()]
    return _left(["field", "what it says"], rows)


def _axes() -> str:
    """One row per document whose fields axes may set."""
    groups: dict[str, list[str]] = {}
    for name in AXES:
        prefix, dot, _ = name.partition(".")
        groups.setdefault(f"`{prefix}.`" if dot else "the job", []).append(f"`{name}`")
    groups[f"`{PLACEMENT}`"] = [f"`{PLACEMENT}OP`, such as `{PLACEMENT}lm_head`"]
    rows = [[group, ", ".join(names)] for group, names in groups.items()]
    return _left(["of", "axes"], rows)


def _metrics() -> str:
    rows = [
        [f"`{name}`", metric.unit, "low, high" if metric.ranged else "", metric.about]
        for name, metric in METRICS.items()
    ]
    return _left(["metric", "unit", "range", "what it is"], rows)


def _functions() -> str:
    return ", ".join(f"`{name}`" for name in FUNCTIONS)


def _left(header: list[str], rows: list[list[str]]) -> str:
    """A table whose columns are all text."""
    return markdown_table(header, rows).replace("---:", "---")


STUDY_TABLES: dict[str, Callable[[], str]] = {
    "study-fields": _fields,
    "study-axes": _axes,
    "study-metrics": _metrics,
    "study-functions": _functions,
}
