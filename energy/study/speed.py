"""How fast a study is: its points beside single simulations in one process, and whole commands with their memory.

The measured study has machines, memories, jobs and costs as axes; four points in a row differ in costs alone.
"""

import hashlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import yaml

from energy.study.document import Study
from energy.study.engine import measure
from energy.study.machine import Catalog
from hw.errors import InputError
from sim.simulator import forget_simulations

__all__ = ["POINTS", "CommandSpeed", "Ratio", "ratio", "speed_study", "timed_commands"]

_SMALL = {
    "prefill": [128, 256, 512, 1024, 2048],
    "memory": ["ddr4-3200", "ddr5-4800", "lpddr5-6400", "hbm2-2000", "hbm3-6400"],
    "costs": ["horowitz-45nm", "bitnet-7nm", "gates:asap7", "gates:gt2n"],
}
_SIZES = [16, 24, 32, 48, 64, 80, 96, 112, 128, 160]
_LARGER = {
    "array.cols": _SIZES,
    "array.rows": _SIZES,
    "array.vector_lanes": [16, 32, 48, 64, 96, 128, 160, 192, 224, 256],
}

POINTS = (100, 1_000, 10_000, 100_000)  # of studies that can be measured
_SINGLE = 12  # simulations, each with nothing remembered


class Ratio(NamedTuple):
    """Points of a study beside simulations of single points, CPU time of one process."""

    points: int
    point_s: float
    single_s: float

    @property
    def times(self) -> float:
        """How much faster a point is within its study."""
        return self.single_s / self.point_s


class CommandSpeed(NamedTuple):
    """A whole command that measured a study, with a store of its own that was empty."""

    options: str
    points: int
    wall_s: float
    cpu_s: float  # of all its processes
    peak_bytes: int  # of its largest process
    rows_sha256: str  # of points.csv


def speed_study(points: int) -> Study:
    """The study of one of ``POINTS`` points of LLaMA-2-7B."""
    axes = {name: _LARGER[name] for name in [*_LARGER][: POINTS.index(points)]}
    return Study(name="speed", base={"model": "llama2-7b", "array": "mobile-64x64"}, axes=axes | _SMALL)


def ratio(points: int = POINTS[0]) -> Ratio:
    """Measure the study in this process, and some of its points each on its own."""
    study = speed_study(points)
    combinations = [*study.combinations()]
    forget_simulations()
    measure(study.base, combinations[0], Catalog())  # kernels come from the cache, or are compiled
    forget_simulations()
    catalog, began = Catalog(), time.process_time()
    for values in combinations:
        measure(study.base, values, catalog)
    point_s = (time.process_time() - began) / points
    single_s = 0.0
    for values in combinations[:: len(combinations) // _SINGLE]:
        forget_simulations()
        began = time.process_time()
        measure(study.base, values, Catalog())
        single_s += (time.process_time() - began) / len(combinations[:: len(combinations) // _SINGLE])
    return Ratio(points, point_s, single_s)


def timed_commands(points: int, options: Iterable[str]) -> list[CommandSpeed]:
    """``tritforge whatif`` of the study with each of ``options``, such as ``--processes 2`` or ``--dask local:2``."""
    return [_timed(speed_study(points), words) for words in options]


def _timed(study: Study, options: str) -> CommandSpeed:
    with TemporaryDirectory() as folder:
        path, out = Path(folder) / "speed.yaml", Path(folder) / "out"
        fields = study.model_dump(include={"name", "axes"}) | {"base": study.base.model_dump(exclude_defaults=True)}
        path.write_text(yaml.safe_dump(fields), encoding="utf-8")
        words = [
            sys.executable,
            "-m",
            "energy",
            "whatif",
            "--study",
            str(path),
            "--out",
            str(out),
            *shlex.split(options),
        ]
        environment = os.environ | {"TRITFORGE_CACHE": str(Path(folder) / "store")}
        began = time.perf_counter()
        # not subprocess.run: the figures of this child alone, with those of its own children
        child = subprocess.Popen(words, stdout=subprocess.DEVNULL, env=environment)
        _, status, used = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        wall_s = time.perf_counter() - began
        if child.returncode or not (out / "points.csv").is_file():
            raise InputError(f"command must be options of tritforge whatif, not {options!r}, which measured nothing")
        return CommandSpeed(
            options=options,
            points=study.points,
            wall_s=wall_s,
            cpu_s=used.ru_utime + used.ru_stime,
            peak_bytes=used.ru_maxrss * 1024,
            rows_sha256=hashlib.sha256((out / "points.csv").read_bytes()).hexdigest(),
        )
