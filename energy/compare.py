"""Methods side by side: accuracy beside true bits beside what each costs on the array (planes, offsets, scales)."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from energy.costs.sources import CostSource, load_source
from energy.job import Job
from energy.model import energy_of
from energy.weights import mean_planes, quantize_model
from hw.artifact import sha256_file, write_artifact
from hw.config import ArrayConfig
from hw.document import Record
from hw.errors import InputError
from hw.progress import StageReport
from quant.job import QuantJob
from quant.manifest import Manifest, read_manifest
from quant.shapes import ModelShape
from sim.result import SimResult

__all__ = [
    "Comparison",
    "MethodRow",
    "compare_manifests",
    "compare_methods",
    "comparison_inputs",
    "method_label",
    "simulate_unquantized",
    "write_comparison",
]

_SCHEMA, _VERSION = "tritforge.comparison", 1


class MethodRow(Record):
    """One method: what it stores, how well it does, what it costs per decoded token."""

    method: str
    true_bits: float
    planes: float  # ternary planes per linear, mean
    perplexity_a16: float
    perplexity_a8: float
    decode_tokens_per_s: float
    prefill_s: float
    decode_j_per_token: float
    decode_array_j_per_token: float


class Comparison(Record):
    """All methods on one model and machine; the first row is the unquantized model on an FP16 array."""

    model: str
    array: str
    memory: str
    costs: str
    prefill: int
    decode: int
    batch: int
    text: str
    calibration: str
    rows: list[MethodRow]


def compare_methods(job: Job, quant_jobs: list[QuantJob], report: StageReport) -> tuple[Comparison, list[Path]]:
    """Quantize by every job (cached) and simulate each result with its own planes, offsets and scales.

    Returns the comparison and the paths of the manifests.

    Raises:
        InputError: whatever quantization or simulation refuses.
    """
    paths = [quantize_model(quant_job, report).folder / "manifest.json" for quant_job in quant_jobs]
    return compare_manifests(job, paths), paths


def compare_manifests(job: Job, paths: list[Path]) -> Comparison:
    """Simulate finished runs, each with its own planes, offsets and scales; ``paths``: of their manifests.

    Raises:
        InputError: a manifest that cannot be read, without perplexities, or of another model or other texts than the
            first.
    """
    array, costs = job.with_cells(job.load_array()), load_source(job.costs)
    manifests = [read_manifest(path) for path in paths]
    first = manifests[0]
    for path, manifest in zip(paths, manifests, strict=True):
        if missing := {"fp", "fp_a8", "a16", "a8"} - set(manifest.perplexity):
            raise InputError(
                f"{path}: perplexity lacks {', '.join(sorted(missing))}; evaluate again: make quant MODEL=..."
            )
        for field in ("model", "evaluation", "calibration"):
            if getattr(manifest, field) != getattr(first, field):
                raise InputError(
                    f"{path}: {field} must be {getattr(first, field)!r} as in {paths[0]}, not "
                    f"{getattr(manifest, field)!r}; compare runs of one model on the same texts"
                )
    rows = [_unquantized(job, first, array, costs)]
    for manifest in manifests:
        result = job.simulate(manifest.shape, array, manifest)
        same = [one.options for one in manifests if one.method == manifest.method]
        label = method_label(manifest.method, manifest.options, same)
        rows.append(_row(label, result, costs, manifest.true_bits, mean_planes(manifest), manifest.perplexity))
    return Comparison(
        model=first.model,
        array=array.name,
        memory=job.memory,
        costs=job.costs,
        prefill=job.prefill,
        decode=job.decode,
        batch=job.batch,
        text=first.evaluation,
        calibration=first.calibration,
        rows=rows,
    )


def write_comparison(path: Path, comparison: Comparison, manifests: list[Path]) -> None:
    """Write ``comparison.json``; its inputs are the manifests."""
    write_artifact(path, _SCHEMA, _VERSION, comparison.model_dump(), comparison_inputs(manifests))


def comparison_inputs(manifests: list[Path]) -> dict[str, str]:
    """Folder and name of each manifest -> its hash."""
    return {f"{manifest.parent.name}/{manifest.name}": sha256_file(manifest) for manifest in manifests}


def method_label(
    method: str, options: Mapping[str, object], of_its_runs: Iterable[Mapping[str, object]], between: str = "="
) -> str:
    """The method, with those of its options that tell several runs apart; ``between``: an option and its value."""
    runs = list(of_its_runs)
    varied = [name for name in options if len({str(one.get(name)) for one in runs}) > 1]
    told = ", ".join(f"{name}{between}{options[name]}" for name in varied)
    return f"{method} ({told})" if told else method


def simulate_unquantized(job: Job, shape: ModelShape, array: ArrayConfig) -> SimResult:
    """The FP16 model on an FP16 array of the organisation of ``array``."""
    return job.as_rival().simulate(shape, job.core_group.fed(array.baseline("fp16")))


def _unquantized(job: Job, manifest: Manifest, array: ArrayConfig, costs: CostSource) -> MethodRow:
    """The FP16 model, with perplexities before quantization."""
    result = simulate_unquantized(job, manifest.shape, array)
    before = {"a16": manifest.perplexity["fp"], "a8": manifest.perplexity["fp_a8"]}
    return _row("unquantized (fp16 array)", result, costs, 16.0, 0.0, before)


def _row(
    method: str, result: SimResult, costs: CostSource, true_bits: float, planes: float, perplexity: dict[str, float]
) -> MethodRow:
    energy = energy_of(result, costs)
    prefill, decode = energy.phase("prefill"), energy.phase("decode")
    return MethodRow(
        method=method,
        true_bits=true_bits,
        planes=planes,
        perplexity_a16=perplexity["a16"],
        perplexity_a8=perplexity["a8"],
        decode_tokens_per_s=decode.tokens / decode.seconds,
        prefill_s=prefill.seconds,
        decode_j_per_token=decode.joules_per_token,
        decode_array_j_per_token=decode.parts["array"].typical / decode.tokens,
    )
