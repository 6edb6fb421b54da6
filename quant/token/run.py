"""A ``TokenJob`` carried out: trits out of the cache or made, integers built, text written, perplexity measured."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from hw.artifact import sha256_json
from hw.errors import InputError
from hw.progress import StageReport
from hw.token.model import TokenModel
from quant.exports.finished import open_finished, refuse_biases
from quant.job import QuantJob
from quant.llama.blocks import LoadedModel, is_tied
from quant.llama.loading import load_model
from quant.pipeline import quantize
from quant.procedures.calibrate import token_windows
from quant.quantizer import apply_checkpoint
from quant.registry import options_for
from quant.source import resolve
from quant.text import NamedText, calibration_text, read_text
from quant.token.build import token_model, with_attention
from quant.token.job import SWEEP, TokenFormat, TokenJob
from quant.token.perplexity import float_losses, losses_in_turn
from quant.token.results import TokenRow
from quant.weights.checkpoint import Checkpoint
from quant.weights.stored_table import StoredTable

__all__ = ["TokenRun", "prepare"]


@dataclass
class TokenRun:
    """An integer model beside the float model with the same trits, both of one job."""

    job: TokenJob
    loaded: LoadedModel
    model: TokenModel
    folder: Path
    samples: np.ndarray

    def sweep(self, report: StageReport) -> Iterator[TokenRow]:
        """Rows of the job's own format, then of ``SWEEP``'s attentions with the same trits and table."""
        yield self.measure(report)
        for changes in SWEEP:
            form = self.job.form.model_copy(update=changes)
            if form != self.job.form:
                model = with_attention(self.model, form.attention, self.samples, report)
                yield replace(self, job=self.job.model_copy(update={"form": form}), model=model).measure(report)

    def prompt(self) -> list[int]:
        """Ids to go on from."""
        ids = self.job.prompt_ids
        return list(ids) if ids is not None else self.loaded.tokenizer.encode(self.job.prompt)

    def write(self) -> Iterator[int]:
        """The job's greedy tokens, each as soon as it is known."""
        prompt = self.prompt()
        return self.model.generate(prompt, self.job.tokens, self.model.state(len(prompt) + self.job.tokens))

    def measure(self, report: StageReport) -> TokenRow:
        """Perplexity on the job's text, beside the float models with the same trits (kept for the next format)."""
        job, text = self.job, read_text(self.job.text)
        windows = _windows(self.loaded, text, job.length, job.windows)
        losses = {
            "float table": self._float("float table", windows, text, report),
            "same trits": self._float(f"table of {job.form.table_digits} digits", windows, text, report),
        }
        integer, clipped = [], 0
        for loss, saturated in losses_in_turn(self.model, windows, job.workers):
            integer.append(loss)
            clipped += saturated
            report("perplexity, integers", len(integer), len(windows))
        change = np.array(integer) - losses["same trits"]
        error = change.std(ddof=1) / math.sqrt(len(change)) if len(change) > 1 else math.nan
        return TokenRow(
            model=self.loaded.shape.name,
            method=job.method,
            options=job.options,
            form=job.form,
            text=f"{text.name} ({text.sha256[:12]})",
            windows=len(windows),
            length=job.length,
            float_attention=math.exp(losses["float table"].mean()),
            same_trits=math.exp(losses["same trits"].mean()),
            integer=math.exp(np.mean(integer)),
            change=math.expm1(change.mean()),
            standard_error=error if math.isfinite(error) else None,
            saturated=clipped,
        )

    def _float(self, name: str, windows: np.ndarray, text: NamedText, report: StageReport) -> np.ndarray:
        """Mean loss of every window of a float model, float64; measured once per checkpoint, table and text."""
        own = name == "float table"
        key = sha256_json([name, text.sha256, list(windows.shape)])[:12]
        path = self.folder / f"token-reference-{key}.json"
        if path.is_file():
            return np.array(json.loads(path.read_text(encoding="utf-8")))
        tables, found = None if own else (self.model.embedding, self.model.head), []
        for number, window in enumerate(windows):
            found.append(float(float_losses(self.loaded, window, tables).mean()))
            report(f"perplexity A8, {name}", number + 1, len(windows))
        path.write_text(json.dumps(found), encoding="utf-8")
        return np.array(found)


def prepare(job: TokenJob, report: StageReport) -> TokenRun:
    """Quantize, or take from the cache or a finished run, and build the integers.

    Raises:
        InputError: see ``quant.pipeline.quantize``, ``quant.exports.finished.open_finished`` and
            ``quant.token.build.token_model``.
    """
    length = min(job.length, resolve(job.model).shape.max_positions)
    job = job.model_copy(update={"length": length})
    loaded, checkpoint, folder, made = _taken_up(job) if job.checkpoint else _quantized(job, report)
    tables = {name: table for name, table in checkpoint.tables().items() if isinstance(table, StoredTable)}
    form = _with_table_digits(job.form, tables, is_tied(loaded.model))
    run = TokenRun(job.model_copy(update={**made, "form": form}), loaded, None, folder, None)
    context = max(length, len(run.prompt()) + job.tokens)
    run.samples = _windows(loaded, calibration_text(job.calib), length, job.calibration_windows)
    run.model = token_model(loaded, checkpoint.solution, form, run.samples, context, report, tables)
    return run


def _with_table_digits(form: TokenFormat, tables: dict[str, StoredTable], tied: bool) -> TokenFormat:
    """The format with the digits of a run whose tables are all in digits; only a table that is not is rounded.

    Raises:
        InputError: other digits asked for than the run has.
    """
    if len(tables) < (1 if tied else 2):
        return form
    digits = max(table.digits for table in tables.values())
    if "table_digits" in form.model_fields_set and form.table_digits != digits:
        raise InputError(
            f"table_digits must be {digits}, which the run's embedding and head were trained in, not "
            f"{form.table_digits}; leave it out, or take a run of table_digits=0"
        )
    return form.model_copy(update={"table_digits": digits})


def _taken_up(job: TokenJob) -> tuple[LoadedModel, Checkpoint, Path, dict[str, object]]:
    """A finished run's model and trits, where they lie, and what made them: options that are not the defaults."""
    loaded, checkpoint, manifest = open_finished(job.checkpoint, job.model)
    defaults = options_for(manifest.method, {}).model_dump()
    given = {name: value for name, value in manifest.options.items() if name in defaults and value != defaults[name]}
    return loaded, checkpoint, checkpoint.path.parent, {"method": manifest.method, "options": given}


def _quantized(job: TokenJob, report: StageReport) -> tuple[LoadedModel, Checkpoint, Path, dict[str, object]]:
    quantized = quantize(
        QuantJob(
            model=job.model,
            method=job.method,
            options=job.options,
            calib=job.calib,
            windows=1,
            length=job.length,
            calibration_windows=None if job.calib is None else job.calibration_windows,
        ),
        report,
    )
    refuse_biases(quantized.checkpoint, f"method {job.method!r}")
    loaded = load_model(resolve(job.model), "cpu")
    apply_checkpoint(loaded, quantized.checkpoint)
    return loaded, quantized.checkpoint, quantized.folder, {}


def _windows(loaded: LoadedModel, text: NamedText, length: int, count: int | None) -> np.ndarray:
    windows: torch.Tensor = token_windows(loaded.tokenizer.encode(text.text), length, count, f"text {text.name!r}")
    return windows.numpy()
