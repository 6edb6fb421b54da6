"""``tritforge task`` and ``tritforge swap``: make a task vector of a finished run, and put one on its trits."""

from argparse import ArgumentParser, Namespace

from hw.document import validate_document
from hw.fields import add_fields, given_fields
from hw.pages import screen
from hw.progress import stage_bars
from quant.tasks.job import SwapJob, TaskJob

__all__ = ["add_swap", "add_task"]


def add_task(parser: ArgumentParser) -> None:
    """Options of ``task``."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=TaskJob.model_fields["checkpoint"].description)
    add_fields(parser, TaskJob, leave_out=["checkpoint"])
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")
    parser.set_defaults(run=_task)


def add_swap(parser: ArgumentParser) -> None:
    """Options of ``swap``."""
    parser.add_argument("checkpoint", metavar="CHECKPOINT", help=SwapJob.model_fields["checkpoint"].description)
    parser.add_argument("task", metavar="TASK", help=SwapJob.model_fields["task"].description)
    add_fields(parser, SwapJob, leave_out=["checkpoint", "task"])
    parser.add_argument("--json", action="store_true", help="print manifest.json instead of lines")
    parser.set_defaults(run=_swap)


def _task(options: Namespace) -> None:
    from quant.tasks.tune import make_task  # imports torch

    (fields,) = given_fields(options, TaskJob)
    job = validate_document(fields, TaskJob, "options")
    with stage_bars() as report:
        done = make_task(job, report)
    if options.json:
        print(done.model_dump_json(indent=1))
        return
    if done.loss is None:
        print("nothing was tuned, in no epochs: every factor is 1")
    else:
        print(f"tuned on {done.windows} windows of {done.length} tokens, last loss {done.loss:.3f} nats per token")
    print(f"wrote {done.file}: {done.rows} rows, {done.swapped_bytes / 1e3:.0f} kB to swap")
    print(f"next: tritforge swap {job.checkpoint} {done.file} --out FOLDER")


def _swap(options: Namespace) -> None:
    from quant.tasks.swap import swap_task  # imports torch

    (fields,) = given_fields(options, SwapJob)
    with stage_bars() as report:
        done = swap_task(validate_document(fields, SwapJob, "options"), report)
    if options.json:
        print((done.folder / "manifest.json").read_text(encoding="utf-8"), end="")
        return
    figures, console = done.manifest.perplexity, screen()
    console.print(f"evaluated on {done.manifest.evaluation}", highlight=False)
    console.print(f"perplexity {figures['a16']:.4g} (A16), {figures['a8']:.4g} (A8)", highlight=False)
    console.print(f"wrote {done.folder}/: the same trits with the task's scales", style="green", highlight=False)
