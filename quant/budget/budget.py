"""The plan of a job of so many minutes: times measured on this machine, and the steps that they leave room for."""

import time
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from hw.progress import StageReport
from quant.budget.measure import Evaluated, measure_model, measure_times, steps_per_epoch
from quant.budget.plan import METHOD, Plan, base_options, block_steps, plan_for, plan_path, windows_of, write_plan
from quant.job import QuantJob, Texts
from quant.llama.evaluate import last_words
from quant.llama.loading import load_model
from quant.procedures.calibrate import token_windows
from quant.procedures.modelwise import generated_text
from quant.procedures.student.held_out import check_held_out
from quant.procedures.work import Work
from quant.quantizer import PASSAGES, evaluation_windows
from quant.registry import load_method, options_for
from quant.source import Source

__all__ = ["make_plan"]


def make_plan(
    job: QuantJob, source: Source, texts: Texts, folder: Path, begun: float, progress: StageReport
) -> Plan:  # fmt: skip
    """Measure what takes time, and keep in ``folder`` what the job's minutes come to; see ``quant.budget.plan``.

    ``begun``: what ``time.perf_counter`` said when the job did, for the minutes are those of the whole.

    Raises:
        InputError: weights or a text that cannot be used, too few calibration windows, too few minutes.
    """
    torch.manual_seed(job.seed)
    start = time.perf_counter()
    progress("load", 0, 1)
    loaded = load_model(source, job.device)
    progress("load", 1, 1)
    load_s = time.perf_counter() - start
    options = options_for(METHOD, base_options(job))
    tokens, length = loaded.tokenizer.encode(texts.calibration.text), texts.calibration_length
    count = windows_of(job, length, len(tokens))
    windows = token_windows(tokens, length, count, f"calibration text {texts.calibration.name!r}")
    check_held_out(options, windows)
    learned = windows[: len(windows) - options.held_out]
    evaluated = Evaluated(
        windows=[evaluation_windows(loaded, texts, text) for text in (texts.evaluation, *texts.more)],
        passages=[] if texts.prose is None else last_words(loaded.tokenizer, texts.prose.text, PASSAGES),
        kv=job.kv_format,
        recorded_tokens=job.recorded_tokens,
    )
    windows = windows.to(loaded.model.lm_head.weight.device)
    if options.generated_windows:  # kept for the job
        on_device = windows[: len(learned)]
        generated_text(loaded, on_device, options.generated_windows, job.seed, folder, progress)
    layers, per_epoch = loaded.shape.layers, steps_per_epoch(options, *learned.shape)
    with TemporaryDirectory() as temporary:
        kept = Path(temporary)
        work = Work(loaded, load_method(METHOD), options, windows, kept, kept, job.seed, progress)
        times = measure_times(work, evaluated, load_s)
        _, left_s = block_steps(job.minutes, times, time.perf_counter() - begun, layers, per_epoch)
        if left_s:
            times = measure_model(work, times)
    plan = plan_for(job.minutes, times, time.perf_counter() - begun, layers, per_epoch, count)
    write_plan(plan_path(folder, job, source.sha256, texts.calibration_name), plan)
    return plan
