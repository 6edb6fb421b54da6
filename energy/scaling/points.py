"""``ScalingPoint``: one set of weights with its bits, its energy per token and its rows; the file that keeps them."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from energy.compare import method_label, simulate_unquantized
from energy.costs.sources import load_source
from energy.job import Job
from energy.model import energy_of
from hw.artifact import write_artifact
from hw.document import Record, read_record
from quant.evaluation.rows import FLOAT_WEIGHTS, EvaluationRow
from quant.manifest import COLLAPSED, Manifest
from sim.result import SimResult

__all__ = [
    "Machine",
    "ScalingPoint",
    "Score",
    "float_point",
    "label_of",
    "quantized_point",
    "read_points",
    "scores_of",
    "write_points",
]

_SCHEMA, _VERSION = "tritforge.scaling", 2
_FLOAT_BITS = 16.0


class Machine(Record):
    """What a token was simulated on: prompt and steps are shorter where the model's context is."""

    array: str
    memory: str
    costs: str
    prefill: int
    decode: int


class Score(Record):
    """One metric of one task with int8 activations; the rest of what its rows say is the point's."""

    task: str
    data_sha256: str
    metric: str
    items: int
    cut: int  # requests whose context lost its beginning
    harness: str
    device: str
    values: dict[int, float]  # number of examples -> value


class ScalingPoint(Record):
    """One set of weights: its own of a model (``method`` is float), or those of a finished run."""

    model: str
    method: str
    options: dict[str, float | int | str | bool | None]  # of the method, defaults included
    weights_sha256: str
    parameters: int
    true_bits: float  # per weight of the decoder linears
    whole_bits: float  # per parameter of the whole file
    perplexity: float | None  # with int8 activations; None: not measured
    perplexity_before: float | None  # the same of the model as it is
    evaluation: str  # the text of both
    joules_per_token: float  # of decode
    machine: Machine
    scores: tuple[Score, ...]

    @property
    def megabytes(self) -> float:
        """Of the whole file, 10^6 bytes."""
        return self.parameters * self.whole_bits / 8e6

    @property
    def collapsed(self) -> bool:
        """Whether quantization has destroyed the model."""
        if self.perplexity is None or self.perplexity_before is None:
            return False
        return self.perplexity >= COLLAPSED * self.perplexity_before

    def value(self, task: str, metric: str, shots: int = 0) -> float | None:
        """What was measured after so many examples; None: nothing."""
        return self.values(task, metric).get(shots)

    def values(self, task: str, metric: str) -> dict[int, float]:
        """Number of examples -> value; of two measurements of one number the first."""
        found: dict[int, float] = {}
        for score in self.scores:
            if (score.task, score.metric) == (task, metric):
                found = score.values | found
        return found


class _Points(Record):
    points: tuple[ScalingPoint, ...] = ()


def read_points(path: Path) -> tuple[ScalingPoint, ...]:
    """The points of a file.

    Raises:
        InputError: missing, or not such a file.
    """
    return read_record(path, _SCHEMA, _VERSION, _Points, "measure again: tritforge compare --models ...").points


def write_points(path: Path, points: Sequence[ScalingPoint]) -> None:
    """Write points; of two with the same weights and machine the later stays."""
    kept = {(one.model, one.method, one.weights_sha256, one.machine): one for one in points}
    body = _Points(points=tuple(kept.values())).model_dump(mode="json")
    weights = {f"{p.model}, {label_of(p, points)}": p.weights_sha256 for p in kept.values()}
    write_artifact(path, _SCHEMA, _VERSION, body, weights)


def label_of(point: ScalingPoint, points: Sequence[ScalingPoint]) -> str:
    """The method, with those of its options that tell several runs of the model apart."""
    same = [one.options for one in points if (one.model, one.method) == (point.model, point.method)]
    return method_label(point.method, point.options, same, " ")


def scores_of(rows: Iterable[EvaluationRow]) -> tuple[Score, ...]:
    """Rows of one set of weights, those together that differ in the number of examples alone."""
    found: dict[tuple, dict[int, float]] = {}
    for row in rows:
        key = row.task, row.data_sha256, row.metric, row.items, row.cut, row.harness, row.device
        found.setdefault(key, {}).setdefault(row.shots, row.value)
    names = "task", "data_sha256", "metric", "items", "cut", "harness", "device"
    return tuple(Score(**dict(zip(names, key, strict=True)), values=values) for key, values in found.items())


def quantized_point(job: Job, manifest: Manifest, rows: Iterable[EvaluationRow]) -> ScalingPoint:
    """Of a finished run, simulated with its own planes, offsets and scales on the job's ternary array."""
    job = _fitting(job, manifest.shape.max_positions)
    result = job.simulate(manifest.shape, job.with_cells(job.load_array()), manifest)
    return ScalingPoint(
        method=manifest.method,
        options=manifest.options,
        weights_sha256=manifest.weights_sha256,
        true_bits=manifest.true_bits,
        whole_bits=manifest.whole_bits,
        perplexity=manifest.perplexity.get("a8"),
        **_shared(job, manifest, result, rows),
    )


def float_point(job: Job, manifest: Manifest, rows: Iterable[EvaluationRow]) -> ScalingPoint:
    """Of the model that a run quantized, in 16 bits on an FP16 array of the same organisation."""
    job = _fitting(job, manifest.shape.max_positions)
    result = simulate_unquantized(job, manifest.shape, job.with_cells(job.load_array()))
    return ScalingPoint(
        method=FLOAT_WEIGHTS,
        options={},
        weights_sha256=manifest.source_sha256,
        true_bits=_FLOAT_BITS,
        whole_bits=_FLOAT_BITS,
        perplexity=manifest.perplexity.get("fp_a8"),
        **_shared(job, manifest, result, rows),
    )


def _fitting(job: Job, positions: int) -> Job:
    """The job with a prompt and steps that fit into the context: four to one where they are cut."""
    if job.prefill + job.decode <= positions:
        return job
    return job.model_copy(update={"prefill": positions - positions // 5, "decode": positions // 5})


def _shared(job: Job, manifest: Manifest, result: SimResult, rows: Iterable[EvaluationRow]) -> dict[str, object]:
    machine = Machine(array=job.array, memory=job.memory, costs=job.costs, prefill=job.prefill, decode=job.decode)
    return {
        "model": manifest.model,
        "parameters": manifest.shape.total_parameters,
        "perplexity_before": manifest.perplexity.get("fp_a8"),
        "evaluation": manifest.evaluation,
        "joules_per_token": energy_of(result, load_source(job.costs)).phase("decode").joules_per_token,
        "machine": machine,
        "scores": scores_of(rows),
    }
