"""The result as Markdown."""

from energy.reports.rows import SAVINGS, headline, percent, reduction_rows, result_rows
from energy.reports.verdict import plain, verdict
from energy.summary import JobSummary
from hw.pages import markdown_table
from quant.manifest import collapse_warning

__all__ = ["summary_markdown"]


def summary_markdown(summary: JobSummary) -> str:
    """The whole report."""
    names = [f"{machine.mac}, {machine.weight_bits:g}-bit weights" for machine in summary.machines]
    rows = [
        [f"**{row.label}**", *[""] * len(names)] if row.section else [row.label, *row.cells]
        for row in result_rows(summary)
    ]
    savings = [[row.label, *row.cells] for row in reduction_rows(summary)]
    recipes = [f"- {machine.mac}: {'; '.join(machine.energy_recipes.values())}" for machine in summary.machines]
    parts = [
        f"# {summary.model} on {summary.ternary.name}",
        "\n".join(headline(summary)),
        plain(verdict(summary)),
        _quality(summary),
        markdown_table(["", *names], rows),
        "## Saved by ternary",
        markdown_table(["", *SAVINGS], savings),
        "Recipes:",
        "\n".join(recipes),
        "Areas:",
        "\n".join(
            f"- {machine.mac}: {'; '.join(machine.area.recipes.values())}"
            for machine in summary.machines
            if machine.area
        ),
        "Single-operator arithmetic, as papers print it (derived; no tree, registers or memory):",
        markdown_table(
            ["recipe", "table", "reduction"], [[p.recipe, p.table, percent(p.reduction)] for p in summary.paper]
        ),
        "## Operands",
        _statistics(summary),
        "## Notes",
        "\n".join(f"- {note}" for note in summary.notes),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _quality(summary: JobSummary) -> str:
    if (quality := summary.quality) is None:
        return ""
    warning = collapse_warning(quality.method, quality.perplexity)
    scores = [[name, f"{value:.4g}"] for name, value in quality.perplexity.items()]
    return "\n\n".join(
        [
            f"Quantized by `{quality.method}`: {quality.true_bits:.3f} true bits per weight, "
            f"{percent(quality.zero_fraction)} zeros, calibrated on {quality.calibration}.",
            markdown_table([f"perplexity on {quality.text}", ""], scores),
            *([f"**Warning:** {warning}."] if warning else []),
        ]
    )


def _statistics(summary: JobSummary) -> str:
    rows = [
        [
            name,
            f"{s.zero_fraction:.3f}",
            f"{s.toggle_rate:.3f}",
            f"{s.input_toggle_rate:.3f}",
            "measured" if s.measured else "**assumed**",
            s.origin,
        ]
        for name, s in summary.statistics.items()
    ]
    header = ["linear", "zero fraction", "operand toggles per bit", "activation toggles per bit", "", "origin"]
    return markdown_table(header, rows)
