"""``python -m quant``: quantize a model, list the models and methods, say which extras a model needs."""

import json
import logging
import sys
import time
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hw.cli import CommandParser, run
from hw.document import validate_document
from hw.errors import InputError
from hw.progress import stage_bars
from quant.manifest import Manifest, read_manifest
from quant.pipeline import QuantJob, quantize
from quant.registry import AUTO, method_names
from quant.results.bench_report import BENCH_FILE, add_reports, bench_markdown, read_report, read_reports
from quant.results.published import published_for
from quant.results.table import RESULTS_FILE, add_row, read_results, results_markdown, row_of
from quant.rewrite.online_rotation import online_adds
from quant.shapes import load_shape, model_names
from quant.source import extras_needed


def _parser() -> CommandParser:
    parser = CommandParser(prog="python -m quant", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    job = commands.add_parser("quantize", help="quantize a model's decoder linears; perplexity before and after")
    job.add_argument(
        "--model", required=True, help="shipped name, Hugging Face directory or hub id, .gguf or .bin file"
    )
    job.add_argument(
        "--method",
        default=AUTO,
        help=f"one of {', '.join(method_names())}; or native, which stores the trits of a BitNet or ternary GGUF "
        "checkpoint as they are (default: native for such a checkpoint, else pt-bitnet)",
    )
    job.add_argument("--option", action="append", default=[], metavar="NAME=VALUE", help="option of the method; repeat")
    job.add_argument(
        "--text",
        type=Path,
        action="append",
        help="evaluated text; repeat for further ones (default: a slice of pydoc_data.topics)",
    )
    job.add_argument("--calib", type=Path, help="calibration text (default: another slice of it)")
    job.add_argument("--prose", type=Path, help="text whose sentences' last words are to be predicted")
    job.add_argument("--windows", type=int, help="evaluated windows (default: all of a file, 8 of the built-in text)")
    job.add_argument("--length", type=int, help="tokens per window (default: 2048 for files, 512 built in)")
    job.add_argument("--calibration-windows", type=int, help="default: up to 128 of a file, 16 of the built-in text")
    job.add_argument("--seed", type=int, default=0)
    job.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    job.add_argument("--verbose", action="store_true", help="log errors of blocks and losses of steps to stderr")
    job.add_argument("--json", action="store_true", help="print manifest.json instead of a table")
    job.set_defaults(action=_quantize)

    other = commands.add_parser(
        "rewrite", help="other weights, the same function: rotated or balanced, to be quantized"
    )
    other.add_argument("model", help="shipped name, Hugging Face directory or hub id, .gguf or .bin file")
    other.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="new folder, a Hugging Face directory")
    other.add_argument(
        "--rotate", type=int, metavar="SEED", help="rotate residual stream and values by random Hadamard matrices"
    )
    other.add_argument(
        "--balance", type=float, metavar="BETA", help="scale input channels by mean|x|^BETA, 0 to 1, after a rotation"
    )
    other.add_argument(
        "--smooth",
        type=float,
        metavar="ALPHA",
        help="or by mean|x|^ALPHA / rms(w)^(1 - ALPHA), w: the channel's weights",
    )
    other.add_argument(
        "--calib", type=Path, help="text that channels are measured on (default: a slice of pydoc_data.topics)"
    )
    other.add_argument("--calibration-windows", type=int, help="default: 16")
    other.add_argument("--length", type=int, help="tokens per window (default: 512)")
    other.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    other.add_argument("--json", action="store_true", help="print the figures as JSON instead of lines")
    other.set_defaults(action=_rewrite)

    models = commands.add_parser("models", help="the models known by name")
    models.add_argument("--json", action="store_true")
    models.set_defaults(action=_models)

    results = commands.add_parser("results", help="print the table of committed results, or add a finished run to it")
    results.add_argument("--add", type=Path, metavar="FOLDER", help="folder of a finished run, with manifest.json")
    results.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="options that it was given"
    )
    results.add_argument("--seed", type=int, default=0)
    results.add_argument("--seconds", type=float, help="wall time of its command")
    results.add_argument("--machine", default="", help="what it ran on, in words")
    results.set_defaults(action=_results)

    bench = commands.add_parser("bench", help="time and memory at a model's dimensions, on random weights")
    bench.add_argument("--model", default="llama2-7b", help="shipped name (default: llama2-7b)")
    bench.add_argument("--method", default="pt-bitnet", help="default: pt-bitnet")
    bench.add_argument(
        "--option", action="append", default=[], metavar="NAME=VALUE", help="option of the method; repeat"
    )
    bench.add_argument("--blocks", type=int, help="how many of the model's blocks to run (default: all)")
    bench.add_argument("--steps", type=int, default=5, help="steps of distillation to run (default: 5)")
    bench.add_argument("--windows", type=int, default=128, help="calibration windows (default: 128)")
    bench.add_argument("--length", type=int, default=2048, help="tokens per window (default: 2048)")
    bench.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    bench.add_argument("--json", action="store_true", help="print the report as JSON instead of tables")
    bench.add_argument(
        "--add", type=Path, nargs="+", metavar="FILE", help=f"add such reports to {BENCH_FILE}; run nothing"
    )
    bench.set_defaults(action=_bench)

    extras = commands.add_parser("extras", help="print the extra (of pyproject.toml) that a model needs, if any")
    extras.add_argument("--model", required=True)
    extras.set_defaults(action=_extras)
    return parser


def main(arguments: Sequence[str]) -> None:
    """Run one command."""
    options = _parser().parse_args(arguments)
    options.action(options)


def _quantize(options: Namespace) -> None:
    names = ("model", "method", "text", "calib", "prose", "windows", "length", "calibration_windows", "seed", "device")
    fields = {name: getattr(options, name) for name in names}
    first, *more = options.text or [None]
    fields |= {"text": first, "more_texts": tuple(more)}
    job = validate_document(fields | {"options": _pairs(options.option)}, QuantJob, "options")
    if options.verbose:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    started = time.monotonic()
    with stage_bars() as report:
        done = quantize(job, report)
    if options.json:
        print((done.folder / "manifest.json").read_text(encoding="utf-8"), end="")
        return
    _print_manifest(done.manifest, done.folder, time.monotonic() - started)


def _print_manifest(manifest: Manifest, folder: Path, seconds: float) -> None:
    console = Console()
    table = Table(title=f"{manifest.model}, {manifest.method}", title_justify="left", box=None)
    table.add_column("perplexity")
    table.add_column("float activations (A16)", justify="right")
    table.add_column("int8 activations (A8)", justify="right")
    for name, figures in {manifest.evaluation: manifest.perplexity, **manifest.more_perplexity}.items():
        text = f" ({name.split(' (')[0]})" if manifest.more_perplexity else ""
        for label, float_key, int8_key in (("before", "fp", "fp_a8"), ("after", "a16", "a8")):
            table.add_row(f"{label}{text}", f"{figures[float_key]:.4g}", f"{figures[int8_key]:.4g}")
    for published in published_for(manifest.shape):
        columns = ("", published.perplexity) if published.int8 else (published.perplexity, "")
        table.add_row(published.label, *columns)
    console.print(table)
    if manifest.last_word:
        shares = f"{manifest.last_word['fp_a8']:.1%} before, {manifest.last_word['a8']:.1%} after (A8)"
        console.print(f"last words of  {manifest.last_word_text}: {shares}", highlight=False)
    for name in (manifest.evaluation, *manifest.more_perplexity):
        console.print(f"evaluated on   {name}", highlight=False)
    console.print(f"calibrated on  {manifest.calibration}", highlight=False)
    bits = f"{manifest.true_bits:.3f} stored bits per weight, {manifest.zero_fraction:.1%} zero trits"
    groups = " and ".join("whole rows" if size is None else str(size) for size in manifest.group_sizes)
    console.print(f"{bits}, scale groups of {groups}, {seconds:.0f} s", highlight=False)
    console.print(f"wrote {folder}/: ternary.safetensors, manifest.json, recording.*", style="green", highlight=False)


def _rewrite(options: Namespace) -> None:
    from quant.rewrite.job import RewriteJob
    from quant.rewrite.rewrite import rewrite  # imports torch

    names = ("model", "out", "rotate", "balance", "smooth", "calib", "calibration_windows", "length", "device")
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    with stage_bars() as report:
        done = rewrite(validate_document(given, RewriteJob, "options"), report)
    if options.json:
        print(done.model_dump_json(indent=1))
        return
    adds, theirs = online_adds(done.shape)
    size = f"{done.file_bytes / 1e6:.0f} MB of {done.dtype}"
    print(f"the same function: logits differ by {done.logits_differ:.1e} of their norm")
    print(f"kurtosis of the weights: {done.kurtosis_before:.2f} before, {done.kurtosis_after:.2f} after (Gaussian: 3)")
    print(
        f"rotating the inputs of o and down too, at run time, would take {adds / 1e6:.2f} M adds per token beside "
        f"the {theirs / 1e6:.1f} M of o and down ({adds / theirs:.2%}); the array has no such adders"
    )
    print(f"wrote {done.folder}/: {size}; next: make quant MODEL={done.folder}")


def _models(options: Namespace) -> None:
    shapes = [load_shape(name) for name in model_names()]
    if options.json:
        json.dump([shape.model_dump() | {"total_parameters": shape.total_parameters} for shape in shapes], sys.stdout)
        print()
        return
    table = Table(box=None)
    for column in ("model", "parameters", "layers", "hidden", "intermediate", "heads", "kv", "context"):
        table.add_column(column, justify="left" if column == "model" else "right")
    for s in shapes:
        numbers = (
            s.total_parameters,
            s.layers,
            s.hidden_size,
            s.intermediate_size,
            s.heads,
            s.kv_heads,
            s.max_positions,
        )
        table.add_row(s.name, *(f"{number:,}" for number in numbers))
    Console().print(table)


def _results(options: Namespace) -> None:
    if options.add is not None:
        manifest = read_manifest(options.add / "manifest.json")
        given = _pairs(options.option)
        add_row(RESULTS_FILE, row_of(manifest, given, options.seed, options.seconds, options.machine))
    print(results_markdown(read_results(RESULTS_FILE)))


def _bench(options: Namespace) -> None:
    if options.add:
        add_reports(BENCH_FILE, [read_report(path) for path in options.add])
        print(bench_markdown(read_reports(BENCH_FILE)))
        return
    from quant.results.bench import run_bench  # imports torch
    from quant.results.bench_job import BenchJob

    names = ("model", "method", "blocks", "steps", "windows", "length", "device")
    fields = {name: getattr(options, name) for name in names} | {"options": _pairs(options.option)}
    with stage_bars() as progress:
        report = run_bench(validate_document(fields, BenchJob, "options"), progress)
    print(json.dumps(report.model_dump(), indent=1) if options.json else bench_markdown([report]))


def _extras(options: Namespace) -> None:
    if extras_needed(options.model):
        print("quant")


def _pairs(given: Sequence[str]) -> dict[str, object]:
    """``NAME=VALUE`` pairs; values as JSON where they are (``0.1``, ``64``, ``null``), else as words."""
    pairs: dict[str, object] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InputError(f"--option must be NAME=VALUE, not {text!r}")
        try:
            pairs[name] = json.loads(value)
        except json.JSONDecodeError:
            pairs[name] = value
    return pairs


if __name__ == "__main__":
    run(main)
