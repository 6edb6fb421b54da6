"""``quantize``: from a model's name to a folder with packed trits, manifest and recording, cached by hash.

Looking at what is cached needs no torch; only work does.
"""

import shutil
import time
from pathlib import Path

from hw.artifact import file_name, one_at_a_time, sha256_json
from hw.document import Record
from hw.errors import InputError
from hw.progress import StageReport
from quant.budget.plan import METHOD, Plan, base_options, plan_path, read_plan
from quant.job import QuantJob, Texts, texts_of
from quant.manifest import Manifest, is_of_manifest, read_manifest
from quant.native.detect import method_for
from quant.procedures.shared.devices import check_devices
from quant.recording import Recording, read_recording, recorded_from
from quant.registry import NATIVE, check_method
from quant.source import Source, located, resolve
from quant.weights.checkpoint import Checkpoint

__all__ = ["MODELS_FOLDER", "Quantized", "model_folder", "quantize"]

MODELS_FOLDER = Path("build") / "models"

# Raised when the same options give other integers than before.
_ALGORITHM = 6


class Quantized(Record):
    """A finished folder."""

    folder: Path

    @property
    def manifest(self) -> Manifest:
        """How it was made, its bits and its perplexities."""
        return read_manifest(self.folder / "manifest.json")

    @property
    def checkpoint(self) -> Checkpoint:
        """Packed trits and scales."""
        return Checkpoint(self.folder / "ternary.safetensors")

    @property
    def recording(self) -> Recording:
        """Integers of a real forward pass."""
        return read_recording(self.folder)


def quantize(job: QuantJob, progress: StageReport | None = None) -> Quantized:
    """Quantize, evaluate and record, or return the folder where an earlier call did.

    An interrupted job goes on after the last finished block; a job that differs only in the evaluated text or
    in the format of K and V is evaluated and recorded again, not quantized again.

    Raises:
        InputError: an unknown name, damaged weights, too short a text: one line with the way out.
    """
    begun = None if job.minutes is None else time.perf_counter()
    check_method(job.method)
    if job.devices is not None:
        job = _on_devices(job)
    source = resolve(job.model)
    if job.kv_format:
        job.kv_format.check(source.shape.head_dim)
    texts = texts_of(job, source.shape.max_positions)
    source = located(source)
    report, budget = progress or (lambda *_: None), {}
    if begun is None:
        job = job.model_copy(update={"method": method_for(job.method, source.path)})
    else:
        plan = _plan(job, source, texts, begun, report)
        planned = {"options": plan.options(job.options), "calibration_windows": plan.calibration_windows}
        job, budget = job.model_copy(update={"method": METHOD, **planned}), plan.budget
        texts = texts_of(job, source.shape.max_positions)
    folder = _folder(job, source, texts)
    if not _is_complete(folder, job, texts):
        with one_at_a_time(folder, lambda: report(f"wait for another run on {folder}", 0, 0)):
            if not _is_complete(folder, job, texts):
                from quant.quantizer import run_job  # imports torch

                for left in folder.rglob(".*.tmp"):  # by a run that was killed while it wrote
                    left.unlink()
                run_job(job, source, texts, folder, model_folder(source), report, budget, begun)
                shutil.rmtree(folder / "parts", ignore_errors=True)
    return Quantized(folder=folder)


def _on_devices(job: QuantJob) -> QuantJob:
    """The job with its first device where the leading process works.

    Raises:
        InputError: devices that are not there, or what does not go with several.
    """
    names = job.device_names
    if job.minutes is not None:
        raise InputError("devices must be left out with minutes, whose steps are measured on one device")
    if job.shards not in (None, 1 if len(names) == 1 else len(names)):
        raise InputError(f"shards must be {len(names)} with {len(names)} devices, or left out, not {job.shards}")
    check_devices(names)
    return job.model_copy(update={"device": names[0]})


def _plan(job: QuantJob, source: Source, texts: Texts, begun: float, report: StageReport) -> Plan:
    """What the minutes, which run since ``begun``, come to: as an earlier call found, else measured now."""
    base_options(job)
    method_for(METHOD, source.path)  # refused before anything is measured
    folder = model_folder(source)
    found = read_plan(plan_path(folder, job, source.sha256, texts.calibration_name))
    if found is None:
        from quant.budget.budget import make_plan  # imports torch

        found = make_plan(job, source, texts, folder, begun, report)
    return found


def model_folder(source: Source) -> Path:
    """Where runs of a model are kept, with what they share."""
    return MODELS_FOLDER / file_name(source.name)


def _folder(job: QuantJob, source: Source, texts: Texts) -> Path:
    """Everything that changes the integers, and nothing else, is in the hash."""
    key = sha256_json(
        {
            "algorithm": _ALGORITHM,
            "weights": source.sha256,
            "method": job.method,
            "options": dict(job.options),
            "calibration": None if job.method == NATIVE else texts.calibration_name,
            "seed": job.seed,
        }
        | ({"shards": job.parts} if job.parts > 1 else {})
    )
    return model_folder(source) / f"{job.method}-{key[:12]}"


def _is_complete(folder: Path, job: QuantJob, texts: Texts) -> bool:
    """Whether every file is there, whole, of these weights and of what the job asks to be measured."""
    names = ("manifest.json", "recording.json", "recording.safetensors", "ternary.safetensors")
    if not all((folder / name).is_file() for name in names):
        return False
    try:
        manifest = read_manifest(folder / "manifest.json")
        recorded = recorded_from(folder)
        whole = is_of_manifest(folder / "ternary.safetensors", manifest)
        read_recording(folder)
    except InputError:  # damaged, or of another version
        return False
    wanted = {texts.name_of(text) for text in texts.more}
    return (
        whole
        and recorded == (manifest.weights_sha256, job.kv)
        and manifest.kv == job.kv_format
        and manifest.recorded_tokens == job.recorded_tokens
        and manifest.evaluation == texts.evaluation_name
        and wanted <= set(manifest.more_perplexity)
        and texts.prose_name in ("", manifest.last_word_text)
    )
