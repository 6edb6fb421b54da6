"""A job carried out: tasks through lm-eval and perplexities of texts, of one set of weights."""

import math
import time
from collections.abc import Iterator, Mapping, Sequence, Sized
from functools import partial
from typing import TYPE_CHECKING

import torch

from hw.artifact import sha256_json
from hw.errors import InputError
from hw.progress import StageReport
from quant.evaluation.job import EvaluateJob
from quant.evaluation.opened import Opened, open_model
from quant.evaluation.rows import SHARES, EvaluationRow
from quant.llama.evaluate import perplexity
from quant.procedures.calibrate import token_windows
from quant.text import NamedText, read_text

if TYPE_CHECKING:
    from lm_eval.api.task import Task
    from lm_eval.result_schema import EvalResults

    from quant.evaluation.model import TritforgeLM

__all__ = ["evaluate"]

_EXAMPLES_SEED = 1234  # lm-eval's own, so that its command line shows the same examples


def evaluate(job: EvaluateJob, progress: StageReport) -> Iterator[EvaluationRow]:
    """The rows of a job, each as soon as it is known.

    Raises:
        InputError: nothing to measure, tasks or texts that cannot be had, a model that is none, out of memory.
    """
    if not job.tasks and not job.text:
        raise InputError("evaluate: tasks or a text must be given, not neither; give --tasks generated, or --text FILE")
    texts = [read_text(path) for path in job.text]
    tasks = _tasks(job, progress)
    progress("load", 0, 1)
    opened = open_model(job.source, job.model, job.device)
    progress("load", 1, 1)
    try:
        for text in texts:
            yield _of_text(job, opened, text, progress)
        for name, task in tasks.items():
            yield from _of_task(job, opened, name, task, progress)
    except torch.OutOfMemoryError as error:
        reason = str(error).strip().splitlines()[0]
        raise InputError(
            f"evaluate {job.source!r}: out of memory on {job.device} ({reason}); use --device cpu"
        ) from None


def _tasks(job: EvaluateJob, progress: StageReport) -> "Mapping[str, Task]":
    if not job.tasks:
        return {}
    from quant.evaluation.tasks import load_tasks  # imports lm-eval

    return load_tasks(job, progress)


def _of_text(job: EvaluateJob, opened: Opened, text: NamedText, progress: StageReport) -> EvaluationRow:
    """Windows that do not overlap, as GPTQ's protocol has them; see ``quant.llama.evaluate.perplexity``."""
    loaded, start, stage = opened.loaded, time.perf_counter(), f"perplexity, {text.name}"
    length = min(job.length, loaded.shape.max_positions)
    windows = token_windows(loaded.tokenizer.encode(text.text), length, job.windows, f"text {text.name!r}")
    value = perplexity(loaded.model, windows, job.activations == "int8", partial(progress, stage))
    return _row(
        job,
        opened,
        task=f"{text.name} ({text.sha256[:12]}), windows of {length} tokens",
        data_sha256=text.sha256,
        shots=0,
        metric="perplexity",
        value=value,
        items=len(windows),
        cut=0,
        harness="",
        seconds=time.perf_counter() - start,
    )


def _of_task(
    job: EvaluateJob, opened: Opened, name: str, task: "Task", progress: StageReport
) -> Iterator[EvaluationRow]:
    import lm_eval

    from quant.evaluation.model import TritforgeLM

    digest = sha256_json(list(task.eval_docs)[: job.limit])
    for shots in _counts(task, job.shots):
        start, stage = time.perf_counter(), f"evaluate {name}, {shots} shots"
        model = TritforgeLM(opened.loaded, job.activations, progress=partial(progress, stage))
        found = _judged(name, task, model, shots, job.limit)
        for key, value in found["results"][name].items():
            metric, comma, _ = key.partition(",")
            if comma and isinstance(value, int | float) and not metric.endswith("_stderr"):
                yield _row(
                    job,
                    opened,
                    task=name,
                    data_sha256=digest,
                    shots=shots,
                    metric=metric,
                    value=float(value),
                    items=found["n-samples"][name]["effective"],
                    cut=model.cut,
                    harness=f"lm-eval {lm_eval.__version__}",
                    seconds=time.perf_counter() - start,
                )


def _counts(task: "Task", wanted: Sequence[int]) -> Sequence[int]:
    """Numbers of examples: those wanted, but none where the task's file says that it has none, as in lm-eval."""
    own = task.get_config("num_fewshot")
    return [0] if own == 0 else wanted or [own or 0]


def _judged(name: str, task: "Task", model: "TritforgeLM", shots: int, limit: int | None) -> "EvalResults":
    """lm-eval's result of one task.

    These are the steps of its ``simple_evaluate``, which also asks compilers, pip and drivers for their versions: that
    takes longer than a small task.

    Raises:
        InputError: more examples than the task has, or whatever lm-eval says against it.
    """
    from lm_eval import evaluator

    from quant.evaluation.quiet import quiet_harness

    task.set_config(key="num_fewshot", value=shots)
    task.set_fewshot_seed(seed=_EXAMPLES_SEED)
    with quiet_harness():
        try:
            examples = task.fewshot_docs() if shots else ()
            if isinstance(examples, Sized) and shots > len(examples):
                raise InputError(f"shots must be at most {len(examples)}, the examples of task {name!r}, not {shots}")
            return evaluator.evaluate(model, {"tasks": {name: task}}, limit=limit, bootstrap_iters=0, log_samples=False)
        except (InputError, torch.OutOfMemoryError):
            raise
        except Exception as error:
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise InputError(f"task {name!r}: lm-eval cannot evaluate it ({reason})") from None


def _row(job: EvaluateJob, opened: Opened, **measured: object) -> EvaluationRow:
    value, items, error = measured["value"], measured["items"], None
    if measured["metric"] in SHARES and items > 1:
        error = math.sqrt(value * (1 - value) / (items - 1))
    device = next(opened.loaded.model.parameters()).device
    return EvaluationRow(
        model=opened.loaded.shape.name,
        weights=opened.weights,
        weights_sha256=opened.weights_sha256,
        activations=job.activations,
        standard_error=error,
        device=torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU",
        **measured,
    )
