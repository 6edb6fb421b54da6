"""``trace.json``: a trace on disk, bound by hash to the model and the array that it was built for."""

from pathlib import Path

from hw.artifact import read_artifact, write_artifact
from hw.config import ArrayConfig
from hw.document import record_of
from hw.errors import InputError
from quant.shapes import ModelShape
from sim.trace.build import Trace

__all__ = ["read_trace", "write_trace"]

_SCHEMA, _VERSION = "tritforge.trace", 1
_REMEDY = "make a new one: tritforge run --model ... --array ... --save-trace FILE"


def write_trace(path: Path, trace: Trace, array: ArrayConfig) -> None:
    """Write ``trace``, whose formats and statistics suit ``array``."""
    inputs = {"shape": trace.shape.sha256, "array": array.sha256}
    write_artifact(path, _SCHEMA, _VERSION, trace.model_dump(mode="json"), inputs)


def read_trace(path: Path, shape: ModelShape, array: ArrayConfig) -> Trace:
    """Read a trace of ``shape`` for ``array``.

    Raises:
        InputError: missing, damaged, of another version, model or array.
    """
    document = read_artifact(path, _SCHEMA, _VERSION, _REMEDY)
    for what, name, expected in (("model", shape.name, shape.sha256), ("array", array.name, array.sha256)):
        found = document["inputs"].get("shape" if what == "model" else what)
        if found != expected:
            raise InputError(
                f"{path}: must be a trace of {what} {name!r} ({expected[:12]}), not {str(found)[:12]}; {_REMEDY}"
            )
    return record_of(document, Trace, path, _REMEDY)
