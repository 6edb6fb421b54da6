"""``swap_task``: a run with another task's scales on the same trits, measured and recorded like any run."""

from hw.artifact import atomic_folder
from hw.errors import InputError
from hw.progress import StageReport
from quant.exports.finished import open_finished
from quant.job import QuantJob, texts_of
from quant.manifest import Manifest, read_manifest, write_manifest
from quant.pipeline import Quantized, model_folder
from quant.quantizer import run_job
from quant.registry import load_method
from quant.source import located, resolve
from quant.tasks.job import SwapJob
from quant.tasks.vector import read_task, scaled
from quant.weights.checkpoint import join_checkpoints, write_checkpoint

__all__ = ["swap_task"]


def swap_task(job: SwapJob, progress: StageReport) -> Quantized:
    """Write ``job.out``, which appears whole or not at all.

    Raises:
        InputError: no finished run, a task of another one, or a folder that holds something.
    """
    if job.out.exists() and not (job.out.is_dir() and not any(job.out.iterdir())):
        raise InputError(f"{job.out}: must be a new or empty folder; give another with --out, or remove it")
    finished = open_finished(job.checkpoint, job.model)
    checkpoint, manifest = finished.checkpoint, finished.manifest
    if manifest.kv is not None:
        raise InputError(f"{job.checkpoint}: must be a run with float K and V, not {manifest.kv}, which a swap drops")
    vector = read_task(job.task, checkpoint, manifest.weights_sha256)
    solutions = {place: scaled(checkpoint.solution(*place), factor) for place, factor in vector.factors.items()}
    model = job.model or manifest.source or manifest.model
    source = located(resolve(model))
    quantized = QuantJob(
        model=model,
        method=manifest.method,
        options=_options(manifest),
        **job.model_dump(include={"text", "windows", "length", "recorded_tokens", "device"}),
    )
    with atomic_folder(job.out) as folder:
        part = folder / "part.safetensors"
        write_checkpoint(part, solutions)
        join_checkpoints(folder / "ternary.safetensors", [part], checkpoint.norms(), checkpoint.tables())
        part.unlink()
        texts = texts_of(quantized, source.shape.max_positions)
        run_job(quantized, source, texts, folder, model_folder(source), progress, manifest.budget)
        told = f"{manifest.calibration}; rows tuned on {vector.text}"
        path = folder / "manifest.json"
        write_manifest(path, read_manifest(path).model_copy(update={"calibration": told}))
    return Quantized(folder=job.out)


def _options(manifest: Manifest) -> dict[str, float | int | str | bool | None]:
    """Those of the run; a manifest leaves out what is None, which is not every option's default."""
    names = load_method(manifest.method).Options.model_fields
    return dict.fromkeys(names) | manifest.options
