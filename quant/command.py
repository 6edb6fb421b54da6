"""``tritforge quant``: quantize a model; and ``extras``: what must be installed for a model."""

import json
import logging
import time
from argparse import ArgumentParser, Namespace
from pathlib import Path

from rich.table import Table

from hw.document import validate_document
from hw.fields import add_fields, add_job_file, given_fields, options_origin
from hw.pages import screen
from hw.progress import stage_bars
from quant.job import QuantJob
from quant.manifest import Manifest, collapse_warning
from quant.pipeline import quantize
from quant.procedures.cost import read_cost
from quant.results.published import published_for
from quant.source import extras_needed

__all__ = ["add_extras", "add_quantize"]


def add_quantize(parser: ArgumentParser) -> None:
    """Options of ``quantize``."""
    add_job_file(parser, "the job")
    add_fields(parser, QuantJob)
    parser.add_argument("--verbose", action="store_true", help="log errors of blocks and losses of steps to stderr")
    parser.add_argument("--json", action="store_true", help="print manifest.json instead of a table")
    parser.set_defaults(run=_quantize)


def add_extras(parser: ArgumentParser) -> None:
    """Options of ``extras``."""
    parser.add_argument("--model", default="llama2-7b", help="the model (default: llama2-7b)")
    parser.add_argument("--json", action="store_true", help="print JSON instead of words")
    parser.set_defaults(run=_extras)


def _quantize(options: Namespace) -> None:
    (fields,) = given_fields(options, QuantJob)
    job = validate_document(fields, QuantJob, options_origin(options))
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
    console = screen()
    table = Table(title=f"{manifest.model}, {manifest.method}", title_justify="left", box=None)
    table.add_column("perplexity")
    table.add_column("float activations (A16)", justify="right")
    table.add_column("int8 activations (A8)", justify="right")
    if manifest.kv:
        table.add_column(f"A8, K and V as {manifest.kv.spelled}", justify="right")
    for name, figures in {manifest.evaluation: manifest.perplexity, **manifest.more_perplexity}.items():
        text = f" ({name.split(' (')[0]})" if manifest.more_perplexity else ""
        for label, *keys in (("before", "fp", "fp_a8", "fp_kv"), ("after", "a16", "a8", "a8_kv")):
            table.add_row(f"{label}{text}", *(f"{figures[key]:.4g}" for key in keys if key in figures))
    for published in published_for(manifest.shape):
        columns = ("", published.perplexity) if published.int8 else (published.perplexity, "")
        table.add_row(published.label, *columns)
    console.print(table)
    if warning := collapse_warning(manifest.method, manifest.perplexity):
        console.print(warning, style="bold red", highlight=False)
    if manifest.last_word:
        shares = f"{manifest.last_word['fp_a8']:.1%} before, {manifest.last_word['a8']:.1%} after (A8)"
        console.print(f"last words of  {manifest.last_word_text}: {shares}", highlight=False)
    if manifest.kv:
        cosine = f"{manifest.kv_cosine['mean']:.4f} on average, {manifest.kv_cosine['min']:.4f} of the worst head"
        console.print(
            f"K and V        {manifest.kv_bits:.2f} bits per element; cosine of outputs {cosine}", highlight=False
        )
    for name in (manifest.evaluation, *manifest.more_perplexity):
        console.print(f"evaluated on   {name}", highlight=False)
    console.print(f"calibrated on  {manifest.calibration}", highlight=False)
    bits = (
        f"{manifest.true_bits:.3f} stored bits per weight ({manifest.whole_bits:.2f} per parameter of the whole file)"
    )
    bits = f"{bits}, {manifest.zero_fraction:.1%} zero trits"
    for table in manifest.tables:
        digits = "float16" if table.digits is None else f"{table.digits} ternary digit{'s' * (table.digits > 1)}"
        console.print(f"{' and '.join(table.roles):<14} in {digits}", highlight=False)
    groups = " and ".join("whole rows" if size is None else str(size) for size in manifest.group_sizes)
    console.print(f"{bits}, scale groups of {groups}, {seconds:.0f} s", highlight=False)
    if cost := read_cost(folder):
        console.print(f"made in        {cost.described}", highlight=False)
    console.print(f"wrote {folder}/: ternary.safetensors, manifest.json, recording.*", style="green", highlight=False)


def _extras(options: Namespace) -> None:
    extras = ["quant"] if extras_needed(options.model) else []
    print(json.dumps(extras) if options.json else "".join(extras))
