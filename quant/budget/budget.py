"""The plan of a job of so many minutes: step times measured on this machine, and the steps that they leave room for."""

from pathlib import Path

import torch

from hw.progress import StageReport
from quant.budget.measure import measure_steps, steps_per_epoch
from quant.budget.plan import METHOD, Plan, base_options, plan_for, plan_path, windows_of, write_plan
from quant.job import QuantJob, Texts
from quant.llama.loading import load_model
from quant.procedures.calibrate import token_windows
from quant.procedures.student.held_out import check_held_out
from quant.registry import options_for
from quant.source import Source

__all__ = ["make_plan"]


def make_plan(job: QuantJob, source: Source, texts: Texts, folder: Path, progress: StageReport) -> Plan:
    """Measure step times, and keep in ``folder`` what the job's minutes come to; see ``quant.budget.plan``.

    Raises:
        InputError: weights or a text that cannot be used, too few calibration windows.
    """
    torch.manual_seed(job.seed)
    progress("load", 0, 1)
    loaded = load_model(source, job.device)
    progress("load", 1, 1)
    options = options_for(METHOD, base_options(job))
    tokens, length = loaded.tokenizer.encode(texts.calibration.text), texts.calibration_length
    count = windows_of(job, length, len(tokens))
    windows = token_windows(tokens, length, count, f"calibration text {texts.calibration.name!r}")
    check_held_out(options, windows)
    learned = windows[: len(windows) - options.held_out]
    times = measure_steps(options, loaded, learned, progress)
    plan = plan_for(job.minutes, times, loaded.shape.layers, steps_per_epoch(options, *learned.shape), count)
    write_plan(plan_path(folder, job, source.sha256, texts.calibration_name), plan)
    return plan
