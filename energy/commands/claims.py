"""``tritforge claims``: where "91 % less compute energy" and "half the latency" hold, cell by cell."""

from argparse import ArgumentParser, Namespace
from pathlib import Path

from rich.table import Table

from energy.claims.document import measure_claims, read_claims, write_claims
from energy.commands.show import BUILD, show
from energy.reports.claims import compute_cells, system_cells, verdicts
from hw.progress import stage_bars

__all__ = ["add_claims"]


def add_claims(parser: ArgumentParser) -> None:
    """Options of ``claims``."""
    parser.add_argument(
        "--models", metavar="A,B", help="models whose whole machines are simulated, joined by commas (default: all)"
    )
    parser.add_argument(
        "--out", type=Path, default=BUILD / "claims" / "claims.json", metavar="FILE",
        help="where every cell is written (default: build/claims/claims.json)",
    )  # fmt: skip
    parser.add_argument("--from", dest="source", type=Path, metavar="FILE", help="show this file; measure nothing")
    parser.add_argument("--json", action="store_true", help="print every cell as JSON instead of tables")
    parser.set_defaults(run=_claims)


def _claims(options: Namespace) -> None:
    path = options.source or options.out
    if options.source is None:
        with stage_bars() as report:
            claims = measure_claims(options.models.split(",") if options.models else None, report)
        write_claims(path, claims)
    claims = read_claims(path)

    def tables(console: object) -> None:
        console.print(_table("compute energy saved per multiply-accumulate", *compute_cells(claims)))
        for phase in ("prefill", "decode"):
            title = f"{phase}: latency / compute energy / system energy saved, equal lanes; --json has the other holds"
            console.print(_table(title, *system_cells(claims, phase, "lanes")))
        for sentence in verdicts(claims):
            console.print(f"- {sentence}", highlight=False)

    show(options, path, tables, [path.name])


def _table(title: str, header: list[str], rows: list[list[str]]) -> Table:
    table = Table(title=title, title_justify="left")
    for name in header:
        table.add_column(name, justify="right" if name.startswith("vs") else "left")
    for row in rows:
        table.add_row(*(cell.replace("**", "") for cell in row))
    return table
