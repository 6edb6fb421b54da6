"""Fields of the documents that people write, with kind, default and meaning, from the records that check them."""

import ast
import inspect
import io
import textwrap
import tokenize

from energy.costs.tables import OpTable
from energy.job import Job, Rivals
from energy.study.document import Study
from energy.study.setting import StudyJob
from hw.config import ArrayConfig
from hw.document import Record
from hw.pages import markdown_table
from quant.job import QuantJob
from quant.shapes import ModelShape
from sim.host import Host
from sim.memory import MemoryConfig
from sim.workload.job import WorkloadJob

__all__ = ["SCHEMAS", "fields_table"]

_ANY = 1 << 24  # a bound that keeps nobody from anything

SCHEMAS: dict[str, tuple[type[Record], ...]] = {
    "array": (ArrayConfig,),
    "memory": (MemoryConfig,),
    "model": (ModelShape,),
    "host": (Host,),
    "job": (Job, Rivals, WorkloadJob),
    "quant-job": (QuantJob,),
    "costs": (OpTable,),
    "study": (Study,),
    "study-base": (StudyJob,),
}


def fields_table(name: str) -> str:
    """A row for each field of the document's records; of a study's base those that a job does not have."""
    rows = []
    for record in SCHEMAS[name]:
        properties = record.model_json_schema()["properties"]
        comments = _comments(record)
        for field, one in record.model_fields.items():
            if name == "study-base" and field in Job.model_fields:
                continue
            about = one.description or comments.get(field, "")
            rows.append([f"`{field}`", _kind(properties[field]), _default(properties[field], one.is_required()), about])
    return (
        markdown_table(["field", "holds", "default", "what it says"], rows).replace("---:", "---").replace("\\|", "|")
    )


def _kind(schema: dict) -> str:
    """In words: integer, 1 to 1024; one of `a`, `b`."""
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    if choices := schema.get("anyOf"):
        return " or ".join(dict.fromkeys(_kind(one) for one in choices if one.get("type") != "null"))
    if "$ref" in schema:
        return "mapping"
    kind = {"array": "list", "object": "mapping", "string": "text", "number": "number", "boolean": "yes or no"}.get(
        schema.get("type", ""), schema.get("type", "any")
    )
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    bounds = [f"from {low:g}" if low is not None else f"above {above:g}" if above is not None else ""]
    if high is not None and high < _ANY:
        bounds.append(f"to {high:g}")
    elif below is not None:
        bounds.append(f"below {below:g}")
    return " ".join(filter(None, (kind, *bounds)))


def _default(schema: dict, required: bool) -> str:
    if required:
        return "must be given"
    value = schema.get("default")
    if value is None or value == "" or (isinstance(value, list | dict) and not value):
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`" if isinstance(value, str | int) else ""


def _comments(record: type[Record]) -> dict[str, str]:
    """Comments at the lines of fields without a description, of the record and of those that it extends."""
    found: dict[str, str] = {}
    for one in reversed(record.__mro__):
        if not (isinstance(one, type) and issubclass(one, Record)) or one is Record:
            continue
        source = textwrap.dedent(inspect.getsource(one))
        lines = {
            token.start[0]: token.string.lstrip("# ")
            for token in tokenize.generate_tokens(io.StringIO(source).readline)
            if token.type == tokenize.COMMENT and not token.string.startswith("# fmt")
        }
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                said = [lines[line] for line in range(node.lineno, (node.end_lineno or 0) + 1) if line in lines]
                found[node.target.id] = "; ".join(said)
    return found
