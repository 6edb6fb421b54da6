"""Generated parts of docs/simulator.md: results in one committed JSON file, tables and a picture made from it."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

from hw.artifact import write_text
from hw.config import load_array
from hw.errors import InputError
from hw.pages import fill_blocks, markdown_table
from quant.shapes import load_shape
from sim.commands.tables import add_rivals
from sim.memory import load_memory, memory_names, stream_table
from sim.references.bench import bench, cost_curve
from sim.references.figures import ASSUMPTIONS, agreements
from sim.reports.explain import explain, explanation_lines
from sim.reports.gantt import layer_gantt
from sim.result import SimResult
from sim.simulator import array_formats, simulate, simulate_on
from sim.trace.build import build_trace

__all__ = ["add_docs", "draw_timeline", "load_results", "measure", "render_file", "write_results"]

_RESULTS, _PAGE = Path("docs/results/simulator.json"), Path("docs/simulator.md")
_PICTURE = Path("docs/images/timeline.svg")
_MODEL, _ARRAY, _MEMORY = "llama2-7b", "edge-32x32", "lpddr5-6400"


def add_docs(parser: ArgumentParser) -> None:
    """Options of ``docs``."""
    parser.add_argument("--measure", action="store_true", help="measure the results again before they are written")
    add_rivals(parser)
    parser.add_argument("--json", action="store_true", help="print the files that were written as JSON")
    parser.set_defaults(run=_docs)


def _docs(options: Namespace) -> None:
    if options.measure:
        write_results(_RESULTS, measure(options.scale_sim, options.zigzag))
        draw_timeline(_PICTURE)
    write_text(_PAGE, render_file(_PAGE, load_results(_RESULTS)))
    if options.json:
        print(json.dumps({"files": [str(_PAGE), *([str(_RESULTS), str(_PICTURE)] if options.measure else [])]}))


def measure(scale_sim_python: Path | None = None, zigzag_python: Path | None = None) -> dict:
    """Everything that the page shows, measured now: references, DRAM streams, speed, an explanation."""
    rows, peak_bytes = bench(scale_sim_python, zigzag_python, commands=True)
    result = _documented_run()
    explanations = explain(result, partial(simulate_on, build_trace(result.shape, formats=array_formats(result.array))))
    return {
        "references": [row._asdict() | {"difference": row.difference} for row in agreements()],
        "assumptions": ASSUMPTIONS,
        "dram": {name: stream_table(load_memory(name)) for name in memory_names()},
        "bench": {"rows": [row._asdict() for row in rows], "peak_bytes": peak_bytes},
        "curve": [point._asdict() for point in cost_curve()],
        "explanation": [explanation_lines(one) for one in explanations],
    }


def render_file(page: Path, results: dict) -> str:
    """The text of ``page`` with every generated block made anew from ``results``.

    Raises:
        InputError: a block of an unknown name.
    """
    blocks = {name: partial(block, results) for name, block in _BLOCKS.items()}
    return fill_blocks(page.read_text(encoding="utf-8"), blocks, str(page))


def draw_timeline(path: Path) -> None:
    """Draw one decoder layer of a decode step as SVG on white paper, one row per unit.

    An image has the colours of no page around it: without paper its black words would stand on a dark page's ground.
    """
    result = _documented_run()
    head, title, rest = layer_gantt(result, result.phase("decode")).split("\n", 2)
    write_text(path, "\n".join([head, title, '<rect width="100%" height="100%" fill="#ffffff"/>', rest, ""]))


def _documented_run() -> SimResult:
    return simulate(load_shape(_MODEL), load_array(_ARRAY), load_memory(_MEMORY))


def _references(results: dict) -> str:
    rows = [
        [
            f"{row['reference']}: {row['what']}",
            f"{row['published']:,.7g} {row['unit']}",
            f"{row['simulated']:,.7g}",
            f"{row['difference']:+.2%}",
        ]
        for row in results["references"]
    ]
    notes = [f"- {reference}: {line}." for reference, lines in results["assumptions"].items() for line in lines]
    return "\n".join([markdown_table(["figure", "published", "simulated", "difference"], rows), "", *notes])


def _dram(results: dict) -> str:
    headings = list(next(iter(results["dram"].values())))
    rows = [[name, *(f"{values[h]:.1%}" for h in headings)] for name, values in results["dram"].items()]
    return markdown_table(["memory", *(heading.replace("_", " ") for heading in headings)], rows)


def _bench(results: dict) -> str:
    rows = [
        [
            row["what"],
            f"{row['wall_s'] * 1e3:,.1f} ms",
            f"{row['cycles']:,}",
            f"{row['cycles'] / row['wall_s']:.1e}",
            row["note"],
        ]
        for row in results["bench"]["rows"]
    ]
    table = markdown_table(["what", "wall time", "simulated cycles", "cycles/s", ""], rows)
    return f"{table}\n\nPeak memory of the process: {results['bench']['peak_bytes'] / 2**20:.0f} MiB."


def _curve(results: dict) -> str:
    rows = [
        [
            f"{point['layers']}",
            f"{point['steps']:,}",
            f"{point['prompts']}",
            f"{point['prompts'] * point['layers'] * (1 + point['steps']):,}",
            f"{point['stepped']}",
            f"{point['wall_s'] * 1e3:.1f} ms",
        ]
        for point in results["curve"]
    ]
    headings = ["layers", "steps of decode", "prompt lengths", "layers x steps", "GEMMs stepped", "wall time"]
    return markdown_table(headings, rows)


def _explanation(results: dict) -> str:
    return "\n".join(["```", *(line for lines in results["explanation"] for line in lines), "```"])


_BLOCKS: dict[str, Callable[[dict], str]] = {
    "references": _references,
    "dram": _dram,
    "bench": _bench,
    "curve": _curve,
    "explanation": _explanation,
}


def load_results(path: Path) -> dict:
    """The committed results.

    Raises:
        InputError: missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise InputError(
            f"{path}: must be readable JSON ({error}); measure again: python -m sim docs --measure"
        ) from None


def write_results(path: Path, results: dict) -> None:
    """Commit-ready results."""
    write_text(path, json.dumps(results, indent=1) + "\n")
