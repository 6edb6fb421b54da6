"""Rows of what a command left on disk, told by the schema in the file."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

from energy.frames.phases import phase_rows
from energy.study.result import STUDY_SCHEMA, STUDY_VERSION
from energy.summary import JobSummary
from hw.artifact import read_artifact
from hw.document import record_of
from hw.errors import InputError
from quant.recording import read_recording, recording_rows
from sim.result import read_result
from sim.rows import op_rows

__all__ = ["KINDS", "Kind", "read_rows"]

Kind = Literal["ops", "phases", "points", "recording"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_REMEDY = "write it again by the command that it is of"
_SOUGHT = {"ops": "sim-*.json", "phases": "energy.json", "points": "study.json", "recording": "recording.json"}


def read_rows(source: Path | str, kind: Kind | None = None) -> list[dict]:
    """Rows of a folder that ``tritforge sim``, ``whatif`` or ``quant`` wrote, or of one of its files.

    ``kind``: ``ops`` (each kind of op of each phase of each machine), ``phases`` (each phase with its energies),
    ``points`` of a study, ``recording`` (the int8 row that a token brought to an input); None: what the source holds,
    ``ops`` of a job.

    Raises:
        InputError: nothing there, a damaged file, or none of that kind.
    """
    source = Path(source)
    if not source.is_dir():
        found = _kind_of(source)
        if kind not in (None, found):
            raise InputError(f"{source}: holds {found}, not {kind}; leave kind out, or give the folder that it lies in")
        return _READERS[found]([source])
    for one in KINDS if kind is None else (kind,):
        if files := sorted(source.glob(_SOUGHT[one]), key=lambda path: (path.stem != "sim-ternary", path.name)):
            return _READERS[one](files)
    sought = ", ".join(_SOUGHT[one] for one in (KINDS if kind is None else (kind,)))
    raise InputError(f"{source}: must hold {sought}: a folder that sim, whatif or quant wrote")


def _kind_of(path: Path) -> Kind:
    """What a file has rows of."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from None
    schema = document.get("schema") if isinstance(document, dict) else None
    kinds: dict[object, Kind] = {
        "tritforge.sim": "ops",
        "tritforge.energy": "phases",
        STUDY_SCHEMA: "points",
        "tritforge.recording": "recording",
    }
    if not isinstance(schema, str) or schema not in kinds:
        raise InputError(
            f"{path}: schema must be one of {', '.join(map(str, kinds))}, not {schema!r}; give sim.json, energy.json, "
            "study.json or recording.json, or the folder of one"
        )
    return kinds[schema]


def _ops(files: Sequence[Path]) -> list[dict]:
    return [row for path in files for row in op_rows(read_result(path))]


def _phases(files: Sequence[Path]) -> list[dict]:
    (path,) = files
    return phase_rows(record_of(read_artifact(path, "tritforge.energy", 1, _REMEDY), JobSummary, path, _REMEDY))


def _points(files: Sequence[Path]) -> list[dict]:
    """As in ``points.csv``: values of the axes, verdict, figures, hash of the inputs."""
    (path,) = files
    document = read_artifact(path, STUDY_SCHEMA, STUDY_VERSION, _REMEDY)
    if not document.get("complete"):
        raise InputError(f"{path}: holds the front alone of more than ten thousand points; points.csv has them all")
    try:
        return [
            {
                **point["values"],
                **{"feasible": point["reason"] is None, "reason": point["reason"], "pareto": point["pareto"]},
                **point["metrics"],
                "inputs_sha256": point["sha256"],
            }
            for point in document["points"]
        ]
    except (KeyError, TypeError):
        raise InputError(f"{path}: points must have values, metrics, reason and pareto; {_REMEDY}") from None


def _recording(files: Sequence[Path]) -> list[dict]:
    (path,) = files
    return recording_rows(read_recording(path))


_READERS: dict[Kind, Callable[[Sequence[Path]], list[dict]]] = {
    "ops": _ops,
    "phases": _phases,
    "points": _points,
    "recording": _recording,
}
