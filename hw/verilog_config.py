"""``config.json`` beside Verilog: which array it is, written with the Verilog and read by every host of it."""

from collections.abc import Collection
from pathlib import Path

from hw.artifact import read_artifact, sha256_file, write_artifact
from hw.config import ArrayConfig
from hw.errors import InputError

__all__ = ["CONFIG_NAME", "clear_earlier", "read_config", "write_config"]

CONFIG_NAME = "config.json"

_SCHEMA, _VERSION = "tritforge.verilog", 1
_DERIVED = ("lanes", "weight_beats", "pipeline_latency", "result_queue_depth", "max_k")


def write_config(path: Path, config: ArrayConfig, files: dict[str, str], **more: object) -> None:
    """Write ``config.json``: the array's fields, what follows from them, and the hashes of the files beside it."""
    derived = {name: getattr(config, name) for name in _DERIVED}
    body = {"array": config.model_dump(), "array_sha256": config.sha256, "derived": derived, "files": files, **more}
    write_artifact(path, _SCHEMA, _VERSION, body, {"array": config.sha256})


def clear_earlier(folder: Path, names: Collection[str]) -> None:
    """Remove what an earlier run wrote into ``folder`` and a run that writes ``names`` does not: it would compile too.

    That is what the ``config.json`` there lists, with the bytes that it lists. What was edited since stays, or is
    refused where it is Verilog; other files are nobody's business here.

    Raises:
        InputError: Verilog of an earlier run was edited; nothing is removed.
    """
    try:
        listed = read_config(folder / CONFIG_NAME, "").get("files")
    except InputError:  # none, or none of ours
        return
    stale = []
    for name, digest in (listed if isinstance(listed, dict) else {}).items():
        path = folder / name
        if name in names or path.parent != folder or not path.is_file():
            continue
        if sha256_file(path) == digest:
            stale.append(path)
        elif path.suffix == ".v":
            raise InputError(
                f"{path}: must go, since it would compile beside what is written now, but it was edited since it was "
                "written; move it away or give another --out"
            )
    for path in stale:
        path.unlink()


def read_config(path: Path, remedy: str) -> dict:
    """The fields of a ``config.json``; ``remedy`` ends the message of a refused file.

    Raises:
        InputError: the file is missing, damaged, or not of this schema and version.
    """
    return read_artifact(path, _SCHEMA, _VERSION, remedy)
