"""``tritforge vector``: the vector unit's blocks with their latency and what each takes on an ECP5; their Verilog."""

import json
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hw.artifact import write_text
from hw.pages import markdown_table
from hw.progress import StageReport, stage_bars

__all__ = ["VECTOR_RESULTS", "add_vector", "vector_markdown"]

VECTOR_RESULTS = Path("docs") / "results" / "vector-unit.json"

_HEADER = ("block", "per edge", "latency", "multiplications", "LUT4-equivalents", "flip-flops", "DSP", "block RAM")


def add_vector(parser: ArgumentParser) -> None:
    """Options of ``vector``."""
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write the Verilog of every block into this folder")
    parser.add_argument("--docs", action="store_true", help=f"write what was measured to {VECTOR_RESULTS}")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.set_defaults(run=_vector)


def _vector(options: Namespace) -> None:
    with stage_bars() as report:
        blocks = _measured(options.out, report)
    text = json.dumps({"family": "ecp5", "blocks": blocks}, indent=1)
    if options.docs:
        write_text(VECTOR_RESULTS, text + "\n")
    print(text if options.json else _table(blocks))


def vector_markdown(path: Path) -> str:
    """Markdown table of a results file."""
    return _table(json.loads(path.read_text(encoding="utf-8"))["blocks"])


def _measured(folder: Path | None, report: StageReport) -> list[dict[str, object]]:
    """One row per block: its stated latency, multiplications before technology mapping, cells after it."""
    # Amaranth and Yosys are imported only by the command that elaborates.
    from amaranth.back import rtlil, verilog

    from hw.gateware.vector.catalog import BLOCKS
    from hw.synthesis.resources import synthesize
    from hw.synthesis.word_level import MULTIPLIERS, word_level_cells

    rows: list[dict[str, object]] = []
    for name, block in BLOCKS.items():
        top, design = f"tritforge_{name.replace('-', '_')}", block.make()
        words = word_level_cells(rtlil.convert(design, name=top, emit_src=False))
        cells = synthesize(block.make())
        rows.append(
            {
                "block": name,
                "does": block.does,
                "per_edge": block.rate,
                "latency": design.latency,
                "multiplications": sum(words.get(kind, 0) for kind in MULTIPLIERS),
                "tables": cells.tables,
                "flip_flops": cells.flip_flops,
                "dsps": cells.dsps,
                "block_rams": cells.cells.get("DP16KD", 0),
            }
        )
        if folder is not None:
            write_text(folder / f"{top}.v", verilog.convert(block.make(), name=top, emit_src=False))
        report("vector unit", len(rows), len(BLOCKS))
    return rows


def _table(blocks: list[dict[str, object]]) -> str:
    names = ("per_edge", "latency", "multiplications", "tables", "flip_flops", "dsps", "block_rams")
    rows = [[f"`{row['block']}`: {row['does']}", *(str(row[name]) for name in names)] for row in blocks]
    return markdown_table(_HEADER, rows)
