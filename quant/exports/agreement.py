"""A run beside its exported files in the runtimes that they are for: greedy tokens and perplexity, theirs and ours."""

import math
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import torch
from transformers import AutoModelForCausalLM

from hw.errors import InputError
from hw.progress import CountReport, StageReport
from quant.exports.agreement_table import Agreement
from quant.exports.export import export
from quant.exports.finished import Finished, open_finished
from quant.exports.job import ExportJob
from quant.exports.llama_cpp import LlamaCpp
from quant.llama.blocks import int8_activations
from quant.text import NamedText

__all__ = ["measure_agreement", "prompt_starts"]

PROMPTS, _PROMPT_TOKENS, _CONTINUED = 20, 16, 16
_SLICE = 128  # tokens whose perplexity is taken


class Runtime(Protocol):
    """What is asked of a model in a runtime; prompts are tokens."""

    def continuations(self, prompts: Sequence[Sequence[int]], count: int, report: CountReport) -> list[list[int]]:
        """The ``count`` tokens of largest logits that follow each of equally long prompts."""
        ...

    def log_probabilities(self, tokens: Sequence[int], report: CountReport) -> list[float]:
        """Of each token but the first, after all before it."""
        ...


class _Torch:
    """A transformers model; ``int8``: with activations rounded as on the array."""

    def __init__(self, model: torch.nn.Module, int8: bool = False) -> None:
        self._model, self._int8 = model, int8

    def continuations(self, prompts: Sequence[Sequence[int]], count: int, report: CountReport) -> list[list[int]]:
        tokens = torch.tensor(prompts)
        for number in range(count):
            tokens = torch.cat([tokens, self._logits(tokens)[:, -1:].argmax(-1)], 1)
            report(number + 1, count)
        return tokens[:, -count:].tolist()

    def log_probabilities(self, tokens: Sequence[int], report: CountReport) -> list[float]:
        given = torch.tensor([tokens])
        found = torch.log_softmax(self._logits(given)[0, :-1], -1).gather(1, given[0, 1:, None])
        report(1, 1)
        return found[:, 0].tolist()

    @torch.no_grad()
    def _logits(self, tokens: torch.Tensor) -> torch.Tensor:
        """float32 ``(prompts, tokens, vocabulary)``."""
        with int8_activations(self._model, self._int8):
            return self._model(tokens).logits.float()


def measure_agreement(
    checkpoint: Path, target: str, model: str | None, text: NamedText, report: StageReport
) -> Agreement:
    """Export a run, load the file in its runtime, and compare with the run itself.

    20 prompts of 16 tokens spread over the text are continued by 16; the perplexity is of the text's first 128 tokens.

    Raises:
        InputError: what ``export`` refuses, a missing runtime, or too short a text.
    """
    with tempfile.TemporaryDirectory() as folder:
        done = export(ExportJob(checkpoint=checkpoint, format=target, out=Path(folder) / "out", model=model))
        run = open_finished(checkpoint, model)
        tokens = run.loaded.tokenizer.encode(text.text)
        if len(tokens) < PROMPTS * _PROMPT_TOKENS + _SLICE:
            raise InputError(
                f"text {text.name!r} must have {PROMPTS * _PROMPT_TOKENS + _SLICE} tokens, not {len(tokens)}"
            )
        theirs, name = _runtime(run, done.folder, done.file, tokens)
        return _compare(run, theirs, tokens, report).model_copy(
            update={
                "format": target,
                "runtime": name,
                "text": f"{text.name} ({text.sha256[:12]})",
                "file_bytes": done.file_bytes,
                "linear_bytes": done.linear_bytes,
                "packed_bytes": sum(linear.bits for linear in run.manifest.linears) // 8,
                "accuracy": done.accuracy,
            }
        )


def _runtime(run: Finished, folder: Path, file: str, tokens: list[int]) -> tuple[Runtime, str]:
    if file.endswith(".gguf"):
        from importlib.metadata import version

        shape = run.loaded.shape
        loaded = LlamaCpp(folder / file, min(shape.max_positions, 512), shape.vocab_size, tokens[-1])
        return loaded, f"llama.cpp (xllamacpp {version('xllamacpp')})"
    import transformers

    model = AutoModelForCausalLM.from_pretrained(folder, attn_implementation="sdpa").eval()
    return _Torch(model), f"transformers {transformers.__version__}"


def prompt_starts(tokens: int) -> list[int]:
    """Where the prompts start in a text of so many tokens: equally far from each other, the last within it."""
    return [number * (tokens - _PROMPT_TOKENS) // PROMPTS for number in range(PROMPTS)]


def _compare(run: Finished, theirs: Runtime, tokens: list[int], report: StageReport) -> Agreement:
    runtimes: dict[str, Runtime] = {
        "theirs": theirs,
        "a16": _Torch(run.loaded.model),
        "a8": _Torch(run.loaded.model, int8=True),
    }
    prompts = [tokens[start : start + _PROMPT_TOKENS] for start in prompt_starts(len(tokens))]
    written, perplexity = {}, {}
    for key, runtime in runtimes.items():
        written[key] = runtime.continuations(prompts, _CONTINUED, partial(report, f"greedy tokens, {key}"))
        losses = runtime.log_probabilities(tokens[:_SLICE], partial(report, f"perplexity, {key}"))
        perplexity[key] = math.exp(-sum(losses) / len(losses))
    equal = {key: sum(map(_same, written["theirs"], written[key])) for key in ("a16", "a8")}
    manifest = run.manifest
    return Agreement(
        model=manifest.model,
        method=manifest.method,
        options=manifest.options,
        true_bits=manifest.true_bits,
        tokens_equal={key: count / (PROMPTS * _CONTINUED) for key, count in equal.items()},
        perplexity=perplexity,
    )


def _same(found: list[int], ours: list[int]) -> int:
    """Tokens that are equal before the first that differs; what follows has another prompt."""
    pairs = enumerate(zip(found, ours, strict=True))
    return next((number for number, (one, other) in pairs if one != other), len(found))
