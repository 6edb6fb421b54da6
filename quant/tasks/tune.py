"""``make_task``: row factors of a finished run tuned on a text, everything else frozen."""

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hw.artifact import check_file, sha256_json
from hw.document import Record
from hw.errors import InputError
from hw.progress import StageReport
from quant.exports.finished import open_finished
from quant.llama.blocks import block_linears, blocks
from quant.llama.loading import usable_device
from quant.methods.trained.peqa import Options
from quant.procedures.calibrate import token_windows
from quant.procedures.latent import block_tensors, check_blocks
from quant.procedures.tuned.tune import tune
from quant.tasks.job import TaskJob
from quant.tasks.vector import TaskVector, scaled, write_task
from quant.text import read_text
from quant.weights.solution import as_stored

__all__ = ["RowFactors", "Task", "make_task"]


class Task(Record):
    """What was written."""

    file: str
    swapped_bytes: int  # factors alone: what a device loads
    file_bytes: int
    rows: int
    windows: int
    length: int
    loss: float | None  # of the last step, in nats per token; None: nothing was tuned


class RowFactors(NamedTuple):
    """A frozen weight ``base`` (n, k) whose rows are multiplied by ``1 + change``, (n, 1)."""

    base: Tensor
    change: Tensor

    def factors(self) -> Tensor:
        """(n, 1), rounded to float16 straight through."""
        factors = 1 + self.change
        return factors + (as_stored(factors) - factors).detach()

    def dense(self) -> Tensor:
        """Its value (n, k)."""
        return self.base * self.factors()

    def learned(self, rate: float) -> list[tuple[Tensor, float]]:
        """The change of the factors."""
        return [(self.change, rate)]


def make_task(job: TaskJob, progress: StageReport) -> Task:
    """Tune the rows of a run and write their factors; a killed call goes on from its last snapshot, to the same bits.

    Raises:
        InputError: no finished run, one whose rows share a scale, too short a text, a loss that is not finite, an
            output that cannot be written, out of memory.
    """
    check_file(job.out)
    device = usable_device(job.device)
    text = read_text(job.calib)
    finished = open_finished(job.checkpoint, job.model)
    for place in finished.checkpoint:
        first = finished.checkpoint.solution(*place)
        try:
            scaled(first, np.ones(first.n))
        except InputError as error:
            raise InputError(f"{job.checkpoint}: layer {place[0]}, {place[1]}: {error}") from None
    loaded = finished.loaded
    loaded.model.to(device)
    length = min(job.length, loaded.shape.max_positions)
    windows = token_windows(loaded.tokenizer.encode(text.text), length, job.calibration_windows, f"text {text.name!r}")
    check_blocks(loaded, length)
    student, trained, places = [], [], []
    options = Options(epochs=job.epochs, rate=job.rate, tokens_per_step=job.tokens_per_step, calibrated=job.calibrated)
    for layer, block in enumerate(blocks(loaded.model)):
        weights = []
        for linear in block_linears(block, layer):
            weight = linear.module.weight.detach().float()
            weights.append(RowFactors(weight, torch.zeros_like(weight[:, :1])))
            trained += weights[-1].learned(job.rate)
            places.append(((layer, linear.kind), weights[-1]))
        student.append(block_tensors(block)._replace(weights=tuple(weights)))
    run = finished.manifest.weights_sha256
    key = sha256_json({"job": job.model_dump(mode="json"), "text": text.sha256, "run": run})
    snapshot = job.out.with_name(f".{job.out.name}.{key[:12]}.pt")
    report = partial(progress, "tune")
    try:
        loss = tune(loaded, student, trained, windows.to(device), options, job.seed, report, snapshot)
    except torch.OutOfMemoryError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"{job.checkpoint}: out of memory on {job.device} ({reason}); give fewer --tokens-per-step, or a shorter "
            "--length"
        ) from None
    factors = {place: one.factors().detach().half().flatten().cpu().numpy() for place, one in places}
    vector = TaskVector(factors, run, f"{text.name} ({text.sha256[:12]})")
    write_task(job.out, vector)
    snapshot.unlink(missing_ok=True)
    return Task(
        file=str(job.out), swapped_bytes=vector.swapped_bytes, file_bytes=job.out.stat().st_size,
        rows=vector.swapped_bytes // 2, windows=len(windows), length=length, loss=loss if job.epochs else None,
    )  # fmt: skip
