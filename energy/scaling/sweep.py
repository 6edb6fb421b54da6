"""The sweep: every model as it is and by every method, measured on tasks and simulated; what is known is not redone."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from energy.job import Job
from energy.scaling.job import ScalingJob
from energy.scaling.points import ScalingPoint, float_point, quantized_point
from energy.weights import quantize_model
from hw.artifact import sha256_json
from hw.errors import InputError
from hw.progress import StageReport
from quant.evaluation.job import EvaluateJob
from quant.evaluation.rows import EvaluationRow, add_rows, read_rows
from quant.job import QuantJob
from quant.manifest import Manifest, read_manifest

__all__ = ["points_of_manifests", "sweep"]


def sweep(
    job: Job, scaling: ScalingJob, quant_jobs: Sequence[QuantJob], folder: Path, progress: StageReport
) -> Iterator[ScalingPoint]:
    """The points of every job, those of one model together, and before them the model as it is.

    Rows are kept in ``folder`` per set of weights, so a sweep that was stopped goes on.

    Raises:
        InputError: whatever quantization, evaluation or simulation refuses.
    """
    known, before = _given(scaling), None
    for quant_job in quant_jobs:
        done = quantize_model(quant_job, progress)
        manifest = done.manifest

        def rows(source: str, weights: str, quant_job: QuantJob = quant_job) -> Sequence[EvaluationRow]:
            return known.get(weights) or _measured(source, weights, scaling, quant_job, folder, progress)

        if before != manifest.source_sha256:
            before = manifest.source_sha256
            yield float_point(job, manifest, rows(quant_job.model, before))
        yield quantized_point(job, manifest, rows(str(done.folder), manifest.weights_sha256))


def points_of_manifests(job: Job, scaling: ScalingJob, paths: Sequence[Path]) -> Iterator[ScalingPoint]:
    """The points of finished runs made elsewhere, and of the models that they quantized, from rows that are given.

    Raises:
        InputError: a file that cannot be read, or a run of which no row is given.
    """
    known, seen = _given(scaling), set()
    manifests: list[tuple[Path, Manifest]] = [(path, read_manifest(path)) for path in paths]
    for path, manifest in manifests:
        source = manifest.source_sha256
        if source not in seen and source in known:
            yield float_point(job, manifest, known[source])
        seen.add(source)
        if manifest.weights_sha256 not in known:
            raise InputError(
                f"{path}: no row is of its weights ({manifest.weights_sha256[:12]}); measure them with tritforge "
                "evaluate RUN --add FILE and give --rows FILE"
            )
        yield quantized_point(job, manifest, known[manifest.weights_sha256])


def _given(scaling: ScalingJob) -> dict[str, tuple[EvaluationRow, ...]]:
    """Rows with int8 activations of all files, by the hash of their weights."""
    return _by_weights(row for path in scaling.rows for row in read_rows(path))


def _by_weights(rows: Iterable[EvaluationRow]) -> dict[str, tuple[EvaluationRow, ...]]:
    found: dict[str, tuple[EvaluationRow, ...]] = {}
    for row in rows:
        if row.activations == "int8":
            found[row.weights_sha256] = (*found.get(row.weights_sha256, ()), row)
    return found


def _measured(
    source: str, weights: str, scaling: ScalingJob, quant_job: QuantJob, folder: Path, progress: StageReport
) -> Sequence[EvaluationRow]:
    """Rows of one set of weights, from an earlier sweep or measured now."""
    choice = scaling.model_dump(include={"tasks", "tasks_folder", "limit", "prose", "shots"}, mode="json")
    kept = folder / "rows" / f"{sha256_json({'weights': weights, **choice})[:16]}.json"
    if not kept.is_file():
        from quant.evaluation.measure import evaluate  # imports torch

        wanted = EvaluateJob(source=source, model=quant_job.model, device=quant_job.device, **choice)
        add_rows(kept, list(evaluate(wanted, progress)))
    return read_rows(kept)
