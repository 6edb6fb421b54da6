"""A model with weights: quantized and replayed on the array, both cached by hash; hands on what was measured."""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from hw.artifact import read_artifact, sha256_file, write_artifact
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.progress import StageReport
from quant.job import QuantJob
from quant.manifest import Manifest
from sim.result import Statistics
from sim.trace.build import TraceStatistics

if TYPE_CHECKING:  # loaded where weights are quantized: a run of shapes alone needs neither safetensors nor numba
    from quant.pipeline import Quantized

__all__ = ["Measured", "mean_planes", "measure_weights", "quantize_model"]

_SCHEMA, _VERSION = "tritforge.replay", 2


class Measured(NamedTuple):
    """What a quantized model tells the simulation."""

    folder: Path  # of the checkpoint
    manifest: Manifest
    statistics: TraceStatistics
    replayed: int  # linears whose sums were bit-exactly equal to torch's


def quantize_model(job: QuantJob, report: StageReport) -> "Quantized":
    """Quantize, or find what an earlier run left; ``report`` hears of work that is done.

    Raises:
        InputError: whatever quantization refuses, or packages that are missing.
    """
    try:
        from quant.pipeline import quantize

        return quantize(job, report)
    except ImportError as error:
        raise InputError(
            f"model {job.model!r} has weights and quantizing needs the package {error.name}; "
            "use make sim, or pip install -e '.[quant]', or --shapes-only"
        ) from None


def measure_weights(array: ArrayConfig, job: QuantJob, report: StageReport) -> Measured:
    """Quantize and replay the recording on ``array``; both are cached by hash.

    Raises:
        InputError: whatever quantization refuses, or packages that are missing.
        RuntimeError: a replayed sum that differs from torch's; this is a defect.
    """
    quantized = quantize_model(job, report)
    path = quantized.folder / f"replay-{array.sha256[:16]}.json"
    inputs = {
        "array": array.sha256,
        "weights": sha256_file(quantized.folder / "ternary.safetensors"),
        "recording": sha256_file(quantized.folder / "recording.json"),
    }
    body = _cached(path, inputs)
    if body is None:
        body = _replay(quantized, array, report)
        write_artifact(path, _SCHEMA, _VERSION, body, inputs)
    statistics = {
        phase: {kind: Statistics.model_validate(fields) for kind, fields in kinds.items()}
        for phase, kinds in body["statistics"].items()
    }
    return Measured(quantized.folder, quantized.manifest, statistics, body["linears"])


def _cached(path: Path, inputs: dict[str, str]) -> dict | None:
    """The body of an earlier replay of the same inputs, or None."""
    if not path.exists():
        return None
    try:
        document = read_artifact(path, _SCHEMA, _VERSION)
    except InputError:
        return None
    return document if document["inputs"] == inputs else None


def _replay(quantized: "Quantized", array: ArrayConfig, report: StageReport) -> dict:
    from sim.replay import recording_origin, replay, replay_statistics

    recording = quantized.recording
    replays = []
    for one in replay(recording, quantized.checkpoint, array):
        replays.append(one)
        report("replay on the array", len(replays), len(recording.linears))
    statistics = replay_statistics(replays, recording_origin(recording, array))
    return {
        "linears": len(replays),
        "statistics": {
            phase: {kind: value.model_dump() for kind, value in kinds.items()} for phase, kinds in statistics.items()
        },
    }


def mean_planes(manifest: Manifest) -> float:
    """Ternary planes that run over a weight."""
    return sum(entry.trits for entry in manifest.linears) / sum(entry.n * entry.k for entry in manifest.linears)
