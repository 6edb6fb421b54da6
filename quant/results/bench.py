"""Time and memory of quantization at a model's dimensions: random weights and tokens through the product's own code.

Every matrix product, column loop and training step costs what it costs on trained weights; perplexities would mean
nothing and are not taken. Where only some blocks or steps run, ``quant.results.bench_report`` extrapolates.
"""

import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from hw.division import ceil_divide
from hw.errors import InputError
from hw.progress import StageReport
from quant.llama.blocks import LoadedModel, first_blocks, must_stream, place
from quant.llama.generate import generate_windows, rows_that_fit
from quant.llama.loading import random_llama, usable_device
from quant.methods.method import GENERATED_LENGTH
from quant.procedures.carry import carry
from quant.procedures.latent import BlockTensors
from quant.procedures.modelwise import distill_blocks, reconstruct_blocks
from quant.procedures.stopwatch import Lap, measured, stage
from quant.procedures.work import Work
from quant.registry import load_method, options_for
from quant.results.bench_job import BenchJob
from quant.results.bench_report import BenchReport, StageCost
from quant.shapes import ModelShape, load_shape

__all__ = ["run_bench"]

_UNITS = {  # of the others: "block"
    "distill step": "step",
    "tune step": "step",
    "generate text": "batch",
    "bring teacher": "model",
    "choose rotations": "model",
}


def run_bench(job: BenchJob, progress: StageReport) -> BenchReport:
    """Run what ``job`` asks for and report it.

    Raises:
        InputError: unknown model, method, option or device; out of memory.
    """
    bench = _Bench(job, load_shape(job.model), usable_device(job.device), progress)
    try:
        return bench.run()
    except torch.OutOfMemoryError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"bench of {job.model!r}: out of memory on {job.device} ({reason}); give fewer --windows"
        ) from None


class _Bench:
    """One job under way: ``seconds`` and the device's peak bytes of each phase."""

    def __init__(self, job: BenchJob, shape: ModelShape, device: torch.device, progress: StageReport) -> None:
        self.job, self.shape, self.device, self.progress = job, shape, device, progress
        self.options = options_for(job.method, job.options)
        self.blocks_run = min(job.blocks or shape.layers, shape.layers)
        self.seconds: dict[str, float] = {}
        self.device_bytes: dict[str, int] = {}

    def run(self) -> BenchReport:
        modelwise, tuned = (self.options.procedure == name for name in ("modelwise", "tuned"))
        if self.options.procedure == "stored":
            raise InputError(f"bench: method must be one that quantizes, not {self.job.method!r}")
        if tuned:  # a step goes through the whole model
            self.blocks_run = self.shape.layers
        built = self.shape.layers if modelwise and self.options.distill_steps else self.blocks_run
        loaded = self._random_model(built)
        generator = torch.Generator().manual_seed(0)
        windows = torch.randint(self.shape.vocab_size, (self.job.windows, self.job.length), generator=generator)
        counts = {"block": self.shape.layers, "model": 1}
        with tempfile.TemporaryDirectory() as folder, measured() as laps:
            method, parts = load_method(self.job.method), Path(folder)
            windows = windows.to(self.device)
            work = Work(loaded, method, self.options, windows, parts, parts, 0, self.progress)
            if modelwise:
                counts |= self._train(work)
            elif tuned:
                counts |= self._tune(work)
            else:
                with self._phase("blocks"):
                    carry(work)
        return BenchReport(
            **self.job.model_dump(include={"model", "method", "options", "windows", "length"}),
            blocks_run=self.blocks_run,
            blocks=self.shape.layers,
            stages=[_cost(name, laps, counts) for name in dict.fromkeys(lap.stage for lap in laps)],
            wall_seconds=sum(self.seconds.values()),
            device_bytes=self.device_bytes,
            host_bytes=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            blocks_built=built,
            device=torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else "CPU",
        )

    def _random_model(self, layers: int) -> LoadedModel:
        shape = self.shape.model_copy(update={"layers": layers})
        self.progress("make random weights", 0, 1)
        model = place(random_llama(shape, self.device), self.device, must_stream(self.shape))
        self.progress("make random weights", 1, 1)
        return LoadedModel(model, None, Path(), shape, "")

    def _train(self, work: Work) -> dict[str, int]:
        """All stages of a method that is trained as a whole; how many steps and batches a whole job has."""
        options, model = self.options, work.loaded.model
        counts, generated = {}, work.windows[:0]
        if options.distill_steps and options.generated_windows:
            length = min(GENERATED_LENGTH, self.shape.max_positions)
            rows = min(rows_that_fit(model, length), options.generated_windows)
            counts["batch"] = ceil_divide(options.generated_windows, rows)
            with self._phase("generate text"), stage("generate text", 0):
                generated = generate_windows(model, work.windows, rows, length, 0, lambda *_: None)
        with self._phase("reconstruct"), first_blocks(model, self.blocks_run):
            student = list(reconstruct_blocks(work))
        if options.distill_steps:
            counts["step"] = options.distill_steps
            student += [_copy(student[index % self.blocks_run]) for index in range(self.shape.layers - len(student))]
            norm = model.model.norm.weight.detach().clone()
            some = options.model_copy(update={"distill_steps": min(self.job.steps, options.distill_steps)})
            with self._phase("distill"):
                distill_blocks(work._replace(options=some), student, norm, generated)
        return counts

    def _tune(self, work: Work) -> dict[str, int]:
        """One epoch of a method whose linears are tuned together; how many steps a whole job has."""
        with self._phase("tune"):
            carry(work._replace(options=self.options.model_copy(update={"epochs": 1})))
        batch = max(1, min(self.job.windows, self.options.tokens_per_step // self.job.length))
        return {"step": self.options.epochs * (self.job.windows // batch)}

    @contextmanager
    def _phase(self, name: str) -> Iterator[None]:
        cuda = self.device.type == "cuda"
        if cuda:
            torch.cuda.reset_peak_memory_stats(self.device)
        start = time.perf_counter()
        yield
        if cuda:
            torch.cuda.synchronize(self.device)
            self.device_bytes[name] = torch.cuda.max_memory_allocated(self.device)
        self.seconds[name] = time.perf_counter() - start


def _cost(name: str, laps: list[Lap], counts: dict[str, int]) -> StageCost:
    """One stage: its laps with one number belong together."""
    seconds: dict[int, float] = {}
    for lap in laps:
        if lap.stage == name:
            seconds[lap.number] = seconds.get(lap.number, 0.0) + lap.seconds
    first, *later = seconds.values()
    unit = _UNITS.get(name, "block")
    mean = sum(later) / len(later) if later else first
    return StageCost(stage=name, unit=unit, run=len(seconds), whole=counts[unit], first=first, later=mean)


def _copy(tensors: BlockTensors) -> BlockTensors:
    """The same block in memory of its own."""
    weights = tuple(type(w)(*(v.clone() if isinstance(v, torch.Tensor) else v for v in w)) for w in tensors.weights)
    return BlockTensors(weights, tensors.biases, tensors.attention_norm.clone(), tensors.mlp_norm.clone())
