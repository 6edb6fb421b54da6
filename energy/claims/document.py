"""All cells of the claims in one file, and the two figures of the literature that they are held against."""

from pathlib import Path

from energy.claims.compute import ComputeRow, compute_rows
from energy.claims.gpu import GpuRow, gpu_rows
from energy.claims.systems import POINTS, Point, SystemRow, system_rows
from energy.job import Job
from hw.artifact import write_artifact
from hw.document import Record, read_record
from hw.errors import InputError
from hw.progress import StageReport

__all__ = ["COMPUTE_CLAIM", "LATENCY_CLAIM", "Claims", "measure_claims", "reaches", "read_claims", "write_claims"]

COMPUTE_CLAIM = 0.91  # of compute energy, which papers on ternary LLaMAs say that they save
LATENCY_CLAIM = 0.50  # of latency

_SCHEMA, _VERSION = "tritforge.claims", 1


class Claims(Record):
    """Every cell, and the machine that the system rows ran on."""

    array: str
    memory: str
    costs: str
    compute: tuple[ComputeRow, ...]
    systems: tuple[SystemRow, ...]
    gpu: tuple[GpuRow, ...]


def measure_claims(models: list[str] | None, report: StageReport) -> Claims:
    """Simulate and price every cell; ``models``: those of ``systems.POINTS`` to keep, None = all.

    Raises:
        InputError: a model that has no point.
    """
    known = list(dict.fromkeys(point.model for point in POINTS))
    for name in models or []:
        if name not in known:
            raise InputError(f"models must be of {', '.join(known)}, not {name!r}")
    points: tuple[Point, ...] = tuple(point for point in POINTS if models is None or point.model in models)
    job = Job()
    return Claims(
        array=job.array,
        memory=job.memory,
        costs=job.costs,
        compute=tuple(compute_rows()),
        systems=tuple(system_rows(points, lambda done, total: report("whole machines", done, total))),
        gpu=tuple(gpu_rows()),
    )


def read_claims(path: Path) -> Claims:
    """Read a file that ``write_claims`` wrote.

    Raises:
        InputError: missing, or not such a file.
    """
    return read_record(path, _SCHEMA, _VERSION, Claims, "measure again: tritforge claims --out FILE")


def write_claims(path: Path, claims: Claims) -> None:
    """Write every cell."""
    write_artifact(path, _SCHEMA, _VERSION, claims.model_dump(mode="json"), {})


def reaches(share: float, claim: float) -> bool:
    """Whether a share, rounded to a whole percent as papers print it, is the claim or more."""
    return round(share, 2) >= claim
