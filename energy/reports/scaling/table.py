"""The table of a sweep: a row per set of weights, on the screen and as Markdown."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from energy.scaling.points import ScalingPoint, label_of
from hw.pages import markdown_table
from quant.evaluation.rows import SHARES
from quant.manifest import older_options

__all__ = ["print_scaling", "scaling_markdown"]

_MODEL_COLUMNS = ("model", "weights", "true bits", "MB", "mJ/token", "ppl")
_METRICS = {"acc": "", "acc_norm": " (normed)", "bits_per_byte": ": bits per byte"}  # what a column of a task shows


def print_scaling(points: Sequence[ScalingPoint], console: Console) -> None:
    """Print one row per set of weights."""
    table = Table(title="Sizes, bits and methods, int8 activations", box=None, title_justify="left")
    header, rows = _cells(points)
    for name in header:
        table.add_column(name, justify="left" if name in ("model", "weights") else "right")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def scaling_markdown(points: Sequence[ScalingPoint]) -> str:
    """The table, and under it what it was measured on."""
    header, rows = _cells(points)
    scores = [score for one in points for score in one.scores]
    used = {f"{score.task} {score.data_sha256[:8]}, {score.items} items" for score in scores}
    devices = {score.device for score in scores}
    machines = {
        f"{m.array}, {m.memory}, {m.costs}: {m.decode} tokens after {m.prefill}" for m in (p.machine for p in points)
    }
    texts = {one.evaluation for one in points}
    notes = [
        f"- perplexity on {'; '.join(sorted(texts))}",
        f"- tasks: {'; '.join(sorted(used))}; shares in per cent, `@k` after k examples; {', '.join(sorted(devices))}",
        f"- energy of decode on {'; '.join(sorted(machines))}; float weights on the FP16 array of that organisation",
    ]
    notes += [f"- {note}" for note in older_options((one.model, one.method, one.options) for one in points)]
    return "\n".join([markdown_table(header, rows), "", *notes])


def _cells(points: Sequence[ScalingPoint]) -> tuple[list[str], list[list[str]]]:
    scores = [score for one in points for score in one.scores]
    most = max((shots for score in scores for shots in score.values), default=0)
    kinds = list(
        dict.fromkeys(
            (score.task, score.metric, shots)
            for shots in sorted({0, most})
            for score in scores
            if score.metric in _METRICS and shots in score.values
        )
    )
    plain = {task for task, _, shots in kinds if shots}
    header = [*_MODEL_COLUMNS]
    for task, metric, shots in kinds:
        header.append(f"{task}{_METRICS[metric]}" + (f" @{shots}" if task in plain else ""))
    rows = []
    for one in points:
        cells = [
            one.model,
            label_of(one, points) + (" (collapsed)" if one.collapsed else ""),
            f"{one.true_bits:.3f}",
            f"{one.megabytes:.3g}",
            f"{1e3 * one.joules_per_token:.3g}",
            "-" if one.perplexity is None else f"{one.perplexity:.4g}",
        ]
        for task, metric, shots in kinds:
            value = one.value(task, metric, shots)
            cells.append("-" if value is None else f"{100 * value:.1f}" if metric in SHARES else f"{value:.3f}")
        rows.append(cells)
    return header, rows
