"""``config.json`` beside Verilog: which array it is, written with the Verilog and read by every host of it."""

from pathlib import Path

from hw.artifact import read_artifact, write_artifact
from hw.config import ArrayConfig

__all__ = ["read_config", "write_config"]

_SCHEMA, _VERSION = "tritforge.verilog", 1
_DERIVED = ("lanes", "weight_beats", "pipeline_latency", "result_queue_depth", "max_k")


def write_config(path: Path, config: ArrayConfig, files: dict[str, str], **more: object) -> None:
    """Write ``config.json``: the array's fields, what follows from them, and the hashes of the files beside it."""
    derived = {name: getattr(config, name) for name in _DERIVED}
    body = {"array": config.model_dump(), "array_sha256": config.sha256, "derived": derived, "files": files, **more}
    write_artifact(path, _SCHEMA, _VERSION, body, {"array": config.sha256})


def read_config(path: Path, remedy: str) -> dict:
    """The fields of a ``config.json``; ``remedy`` ends the message of a refused file.

    Raises:
        InputError: the file is missing, damaged, or not of this schema and version.
    """
    return read_artifact(path, _SCHEMA, _VERSION, remedy)
