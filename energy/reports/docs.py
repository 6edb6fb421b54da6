"""Generated parts of README and the quantization pages: tables from committed results, and the main picture."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

from energy.compare import Comparison
from energy.costs.dram import DRAM_PARTS
from energy.costs.fpga import FPGA_PREFIX
from energy.costs.gates import GATES_PREFIX
from energy.costs.sources import load_source, source_names
from energy.job import BASELINES, Job, Rivals, simulate_machines
from energy.model import COMPUTE
from energy.reports.attention import attention_table, measure_attention, quality_table
from energy.reports.charts.palette import LIGHT
from energy.reports.claims import CLAIMS_TABLES
from energy.reports.comparison import comparison_markdown
from energy.reports.family import family_table, measure_family
from energy.reports.holds import holds_table, measure_holds
from energy.reports.method_picture import draw_methods, measure_energies, methods_text
from energy.reports.rooms import rooms
from energy.reports.rows import SAVINGS, latency_rows, percent, reduction_rows, si
from energy.reports.scaling.figures import draw_scaling
from energy.reports.scaling.table import scaling_markdown
from energy.reports.sources.boards import token_energy_table
from energy.reports.sources.fpga import fpga_table, measure_fpga
from energy.reports.sources.machine import measure_sources, source_range, sources_table
from energy.reports.sources.tables import ENERGY_TABLES
from energy.reports.studies import measure_studies, studies_text, study_speed_text
from energy.reports.study_reference import STUDY_TABLES
from energy.scaling.points import read_points
from energy.study.accuracy import METHODS_FILE, best_perplexities, kv_losses
from energy.summary import JobSummary, MachineSummary
from hw.artifact import atomic_path, write_text
from hw.config import load_array
from hw.errors import InputError
from hw.pages import fill_blocks, markdown_table
from hw.tables import TABLES as HW_TABLES
from quant.shapes import load_shape
from quant.tables import TABLES
from sim.microgpt.results import MICROGPT_TABLES
from sim.token.tables import MACHINE_TABLES

__all__ = [
    "PAGES",
    "RESULTS",
    "draw_method_picture",
    "draw_picture",
    "draw_scaling_pictures",
    "measure",
    "render_file",
    "write_perplexities",
]

RESULTS = Path("docs") / "results"
PAGES = (  # those rendered here
    Path("README.md"),
    Path("docs") / "methods.md",
    Path("docs") / "quantization.md",
    Path("docs") / "kv.md",
    Path("docs") / "vocabulary.md",
    Path("docs") / "evaluation.md",
    Path("docs") / "exports.md",
    Path("docs") / "whole_token.md",
    Path("docs") / "token_machine.md",
    Path("docs") / "microgpt.md",
    Path("docs") / "memory_controller.md",
    Path("docs") / "studies.md",
    Path("docs") / "explorer.md",
    Path("docs") / "machines.md",
    Path("docs") / "claims.md",
    Path("docs") / "energy.md",
    Path("docs") / "limits.md",
    Path("docs") / "rooms.md",
)
_MAIN_RESULT = RESULTS / "sim-llama2-7b.json"
_FAMILY = RESULTS / "machines.json"
_SOURCES = RESULTS / "cost-sources.json"
_STUDIES = RESULTS / "studies.json"
_STUDY_SPEED = RESULTS / "study-speed.json"  # of tritforge bench-study
_FPGA = RESULTS / "published-fpga.json"  # not among fpga-*.json, which are cores placed and routed
_ATTENTION = RESULTS / "attention-llama2-7b.json"
_EXPLORER = RESULTS / "explorer-latency.json"
_HOLDS = RESULTS / "machines-llama2-7b.json"
_JOBS = {  # what `make docs` simulates again
    _MAIN_RESULT: Job(model="llama2-7b", kv_bits=8),
    RESULTS / "sim-llama2-7b-2048.json": Job(model="llama2-7b", prefill=2048, kv_bits=8),
    RESULTS / "sim-llama2-70b-2048.json": Job(model="llama2-70b", prefill=2048, kv_bits=8),
}

_COMPARED = RESULTS / "compare-smollm2-135m.json"
_COMPARED_MIXED = RESULTS / "compare-smollm2-135m-mixed.json"
_COMPARED_LEARNED = RESULTS / "compare-smollm2-135m-learned.json"
_ENERGIES = RESULTS / "method-energies.json"
_SCALING = RESULTS / "scaling.json"
_IMAGES = Path("docs") / "images"
_METHODS_PICTURE = _IMAGES / "methods.svg"

_RIVALS = Rivals(rivals="int8,fp16,w2a8", rival_bus="balanced")

_PARTS = {"compute": COMPUTE, "SRAM": ("sram",), "DRAM": DRAM_PARTS, "leakage": ("leakage",)}
_SLOTS = {"compute": "array", "SRAM": "sram", "DRAM": "dram", "leakage": "leakage"}  # of the pages' colours


def measure() -> list[Path]:
    """Simulate the documented jobs again and write their results."""
    for path, job in _JOBS.items():
        summary, _ = simulate_machines(job, load_shape(job.model), rivals=_RIVALS)
        write_text(path, json.dumps(summary.model_dump(mode="json"), indent=1) + "\n")
    measure_holds(_HOLDS)
    measure_attention(_ATTENTION)
    measure_family(_FAMILY)
    measure_sources(_SOURCES)
    measure_fpga(_FPGA)
    measure_energies(_ENERGIES, _COMPARED_LEARNED)
    write_perplexities()
    measure_studies(_STUDIES)
    return [*_JOBS, _HOLDS, _FAMILY, _ATTENTION, _SOURCES, _FPGA, METHODS_FILE, _STUDIES]


def write_perplexities() -> None:
    """Copy best measured perplexities, and losses by formats of K and V, to where an installed package finds them."""
    quantized, kept = RESULTS / "quantization.json", RESULTS / "kv.json"
    rows, kv_rows = (json.loads(path.read_text(encoding="utf-8"))["rows"] for path in (quantized, kept))
    body = {
        "sources": [quantized.as_posix(), kept.as_posix()],
        "perplexity": best_perplexities(rows),
        "kv_loss": kv_losses(kv_rows),
    }
    write_text(METHODS_FILE, json.dumps(body, indent=1) + "\n")


def render_file(path: Path) -> str:
    """The text of ``path`` with every generated block made anew from the committed results.

    Raises:
        InputError: a block of an unknown name.
    """
    return fill_blocks(path.read_text(encoding="utf-8"), _TABLES, str(path))


def draw_picture(path: Path) -> None:
    """Draw the main result as SVG: decode speed and energy per token by part, one bar per array.

    Raises:
        InputError: matplotlib is missing.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        raise InputError("matplotlib is missing; install the docs extra: pip install -e '.[docs]'") from None
    summary = _load(_MAIN_RESULT)
    with mpl.rc_context({"svg.hashsalt": "tritforge", "font.size": 10}):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        speed, energy = figure.subplots(1, 2)
        names = [f"{m.mac}\n{m.weight_bits:g}-bit" for m in summary.machines]
        decode = [m.phase("decode") for m in summary.machines]
        bars = speed.bar(names, [d.tokens_per_s for d in decode], color=["#2a7f62", *["#9bb8ab"] * (len(decode) - 1)])
        speed.bar_label(bars, [f"{d.tokens_per_s:.1f}" for d in decode])
        speed.set_title("decode, tokens/s")
        bottom = [0.0] * len(decode)
        for label, parts in _PARTS.items():
            values = [1e3 * sum(d.joules_per_token[part].typical for part in parts) for d in decode]
            energy.bar(names, values, bottom=bottom, label=label, color=LIGHT[_SLOTS[label]][0])
            bottom = [a + b for a, b in zip(bottom, values, strict=True)]
        energy.set_title("decode, mJ per token")
        energy.legend(frameon=False)
        for axes in (speed, energy):
            axes.spines[["top", "right"]].set_visible(False)
        figure.suptitle(f"{summary.model} on {summary.ternary.lanes} lanes at 1 GHz, {summary.memory}")
        with atomic_path(path) as temporary:
            figure.savefig(temporary, format="svg", metadata={"Date": None})


def _load(path: Path) -> JobSummary:
    return JobSummary.model_validate(json.loads(path.read_text(encoding="utf-8")))


def _savings_table() -> str:
    rows = [[row.label, *row.cells] for row in reduction_rows(_load(_MAIN_RESULT))]
    return markdown_table(["saved by ternary", *SAVINGS], rows)


def _machines_table() -> str:
    """Every documented job: speed and energy of both phases on every array."""
    rows = []
    for path in _JOBS:
        summary = _load(path)
        rows += [
            [f"{summary.model}, {summary.prefill} + {summary.decode}", machine.mac, *_cells(machine)]
            for machine in summary.machines
        ]
    header = ["model, prefill + decode", "array", "prefill", "J/token", "decode tokens/s", "J/token", "utilization"]
    return markdown_table(header, rows)


def _cells(machine: MachineSummary) -> list[str]:
    prefill, decode = machine.phase("prefill"), machine.phase("decode")
    return [
        si(prefill.seconds, "s"),
        si(prefill.total_j_per_token.typical, "J"),
        f"{decode.tokens_per_s:.4g}",
        si(decode.total_j_per_token.typical, "J"),
        f"{percent(prefill.utilization)} / {percent(decode.utilization)}",
    ]


def _paper_table() -> str:
    rows = [[line.recipe, line.table, percent(line.reduction)] for line in _load(_MAIN_RESULT).paper]
    return markdown_table(["single-operator arithmetic", "table", "saved"], rows)


def _agreement_table() -> str:
    """Quantizers beside their official code, one linear each."""
    rows = []
    for row in json.loads((RESULTS / "quant-agreement.json").read_text(encoding="utf-8"))["rows"]:
        options = "".join(f", {value}" for value in row["options"].values())
        ours, shipped, official = row["official_arithmetic"], row["as_shipped"], row["official"]
        rows.append(
            [
                f"{row['method']}{options}",
                f"{row['linear']} ({row['n']} x {row['k']})",
                percent(ours["equal_weights"]),
                f"{ours['output_difference']:.1e}",
                percent(shipped["output_difference"]),
                f"{percent(shipped['output_error'])} / {percent(official['output_error'])}",
            ]
        )
    header = ["method", "linear", "equal weights", "outputs differ by", "as shipped", "output error, ours / official"]
    return markdown_table(header, rows)


_KINDS = {GATES_PREFIX: "measured, gates", FPGA_PREFIX: "measured tables, derived energies"}


def _sources_table() -> str:
    """Energy per MAC of the three arrays by every cost source, random operands or those that were simulated."""
    array = load_array(Job().array)
    rows = []
    for name in source_names():
        source = load_source(name)
        ternary, int8, fp16 = (source.mac(m).energy.typical for m in (array, *map(array.baseline, BASELINES)))
        kind = next(
            (kind for prefix, kind in _KINDS.items() if name.startswith(prefix)), "derived from published operators"
        )
        figures = [si(ternary, "J"), si(int8, "J"), si(fp16, "J")]
        rows.append([name, kind, *figures, percent(1 - ternary / int8), percent(1 - ternary / fp16)])
    header = ["cost source", "kind", "ternary", "INT8", "FP16 into FP32", "saved vs INT8", "saved vs FP16"]
    return markdown_table(header, rows)


def _quantization_rows() -> list[dict]:
    return json.loads((RESULTS / "quantization.json").read_text(encoding="utf-8"))["rows"]


def draw_method_picture() -> Path:
    """Draw accuracy against true bits from the committed results; where it is."""
    draw_methods(_METHODS_PICTURE, _quantization_rows(), _ENERGIES)
    return _METHODS_PICTURE


def draw_scaling_pictures() -> list[Path]:
    """Draw the figures of the committed sweep; where they are."""
    return [_IMAGES / name for name in draw_scaling(_IMAGES, read_points(_SCALING))]


def _methods_table(path: Path) -> str:
    """Quantizers at full calibration: accuracy, bits and simulated cost."""
    document = json.loads(path.read_text(encoding="utf-8"))
    return comparison_markdown(Comparison(**{name: document[name] for name in Comparison.model_fields}))


def _latency_table() -> str:
    """Redraws of the explorer, as ``tritforge explore --measure`` found them."""
    measured = json.loads(_EXPLORER.read_text(encoding="utf-8"))
    header, *rows = latency_rows(measured)
    where = f"On {measured['processors']} processors, which {measured['load']:.0f} processes wanted meanwhile."
    return f"{markdown_table(header, rows)}\n\n{where}"


def _main_notes() -> str:
    """What the README's main job says of itself."""
    return "\n".join(f"- {note}" for note in json.loads(_MAIN_RESULT.read_text(encoding="utf-8"))["notes"])


_TABLES: dict[str, Callable[[], str]] = {
    "savings": _savings_table,
    "machines": _machines_table,
    "paper": _paper_table,
    "sources": _sources_table,
    "agreement": _agreement_table,
    "methods": partial(_methods_table, _COMPARED),
    "methods-mixed": partial(_methods_table, _COMPARED_MIXED),
    "methods-picture": lambda: methods_text(_quantization_rows(), _ENERGIES),
    "scaling": lambda: scaling_markdown(read_points(_SCALING)),
    "family": partial(family_table, _FAMILY),
    "cost-sources": partial(sources_table, _SOURCES),
    "source-range": partial(source_range, _SOURCES),
    "studies": partial(studies_text, _STUDIES),
    "study-speed": partial(study_speed_text, _STUDY_SPEED),
    "fpga-power": partial(fpga_table, _FPGA),
    "fpga-tokens": token_energy_table,
    "explorer-latency": _latency_table,
    "limits-notes": _main_notes,
    "attention": partial(attention_table, _ATTENTION),
    "attention-quality": partial(quality_table, _ATTENTION, RESULTS / "kv.json"),
    "holds": partial(holds_table, _HOLDS),
    **{f"rooms-{package}": partial(rooms, package) for package in ("hw", "quant", "sim", "energy")},
    **MACHINE_TABLES,
    **MICROGPT_TABLES,
    **CLAIMS_TABLES,
    **STUDY_TABLES,
    **ENERGY_TABLES,
    **TABLES,
    **HW_TABLES,
}
