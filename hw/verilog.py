"""Deterministic Verilog of a core, with the config that made it."""

from pathlib import Path

from amaranth.back import rtlil, verilog

from hw.artifact import sha256_file, write_artifact, write_text
from hw.cells import Cells
from hw.config import ArrayConfig
from hw.core import Core

__all__ = ["CORE_NAME", "core_rtlil", "core_verilog", "write_config", "write_verilog"]

_SCHEMA, _VERSION = "tritforge.verilog", 1
_DERIVED = ("lanes", "weight_beats", "pipeline_latency", "result_queue_depth", "max_k")

CORE_NAME = "tritforge_core"


def core_verilog(config: ArrayConfig, cells: Cells = "portable") -> str:
    """Verilog of ``Core(config, cells)``, the same bytes on every run; the top module is ``tritforge_core``.

    Raises:
        InputError: the array is not a ternary one, or unknown cells.
    """
    return verilog.convert(Core(config, cells), name=CORE_NAME, emit_src=False)


def core_rtlil(config: ArrayConfig, cells: Cells = "portable") -> str:
    """The same core as Yosys RTLIL, for synthesis and checks."""
    return rtlil.convert(Core(config, cells), name=CORE_NAME, emit_src=False)


def write_verilog(config: ArrayConfig, folder: Path) -> list[Path]:
    """Write ``tritforge_core.v`` and ``config.json`` into ``folder``; returns their paths.

    Raises:
        InputError: the array is not a ternary one.
    """
    source, description = folder / f"{CORE_NAME}.v", folder / "config.json"
    text = core_verilog(config)
    write_text(source, text)
    write_config(description, config, {source.name: sha256_file(source)})
    return [source, description]


def write_config(path: Path, config: ArrayConfig, files: dict[str, str], **more: object) -> None:
    """Write ``config.json``: the array's fields, what follows from them, and the hashes of the files beside it."""
    derived = {name: getattr(config, name) for name in _DERIVED}
    body = {"array": config.model_dump(), "array_sha256": config.sha256, "derived": derived, "files": files, **more}
    write_artifact(path, _SCHEMA, _VERSION, body, {"array": config.sha256})
