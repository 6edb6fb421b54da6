"""A run beside its exported files in the runtimes that they are for: greedy tokens and perplexity, theirs and ours."""

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import torch
from transformers import AutoModelForCausalLM

from hw.errors import InputError
from hw.progress import StageReport
from quant.exports.agreement_table import Agreement
from quant.exports.export import export
from quant.exports.finished import Finished, open_finished
from quant.exports.job import ExportJob
from quant.exports.llama_cpp import LlamaCpp
from quant.llama.blocks import int8_activations
from quant.text import NamedText

__all__ = ["measure_agreement"]

PROMPTS, _PROMPT_TOKENS, _CONTINUED = 20, 16, 16
_SLICE = 128  # tokens whose perplexity is taken


class Runtime(Protocol):
    """What is asked of a model in a runtime; prompts are tokens."""

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        """The tokens of largest logits that follow."""
        ...

    def log_probability(self, prompt: Sequence[int], token: int) -> float:
        """Of a token after the prompt."""
        ...


class _Torch:
    """A transformers model; ``int8``: with activations rounded as on the array."""

    def __init__(self, model: torch.nn.Module, int8: bool = False) -> None:
        self._model, self._int8 = model, int8

    def greedy(self, prompt: Sequence[int], count: int) -> list[int]:
        tokens = list(prompt)
        for _ in range(count):
            tokens.append(int(self._logits(tokens)[-1].argmax()))
        return tokens[len(prompt) :]

    def log_probability(self, prompt: Sequence[int], token: int) -> float:
        return torch.log_softmax(self._logits(list(prompt))[-1], -1)[token].item()

    @torch.no_grad()
    def _logits(self, tokens: list[int]) -> torch.Tensor:
        with int8_activations(self._model, self._int8):
            return self._model(torch.tensor([tokens])).logits[0].float()


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


def _compare(run: Finished, theirs: Runtime, tokens: list[int], report: StageReport) -> Agreement:
    float_run, int8_run = _Torch(run.loaded.model), _Torch(run.loaded.model, int8=True)
    starts = [number * (len(tokens) - _PROMPT_TOKENS) // PROMPTS for number in range(PROMPTS)]
    equal = {"a16": 0, "a8": 0}
    for number, start in enumerate(starts):
        prompt = tokens[start : start + _PROMPT_TOKENS]
        found = theirs.greedy(prompt, _CONTINUED)
        for key, ours in (("a16", float_run), ("a8", int8_run)):
            equal[key] += _same(found, ours.greedy(prompt, _CONTINUED))
        report("greedy tokens", number + 1, PROMPTS)
    losses = {"theirs": 0.0, "a16": 0.0, "a8": 0.0}
    for position in range(1, _SLICE):
        for key, runtime in (("theirs", theirs), ("a16", float_run), ("a8", int8_run)):
            losses[key] -= runtime.log_probability(tokens[:position], tokens[position]) / (_SLICE - 1)
        report("perplexity", position, _SLICE - 1)
    manifest = run.manifest
    return Agreement(
        model=manifest.model,
        method=manifest.method,
        options=manifest.options,
        true_bits=manifest.true_bits,
        tokens_equal={key: count / (PROMPTS * _CONTINUED) for key, count in equal.items()},
        perplexity={key: math.exp(loss) for key, loss in losses.items()},
    )


def _same(found: list[int], ours: list[int]) -> int:
    """Tokens that are equal before the first that differs; what follows has another prompt."""
    pairs = enumerate(zip(found, ours, strict=True))
    return next((number for number, (one, other) in pairs if one != other), len(found))
