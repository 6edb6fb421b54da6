"""Models as lm-eval asks them: log-likelihoods of continuations and of whole texts, greedy text; int8 as on the array.

Registered in lm-eval under the name ``tritforge``, for its own command line as well, once this module is imported.

Ref: lm-eval 0.4's ``HFLM``, whose log-likelihoods these are where activations are float.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from hw.errors import InputError
from hw.progress import CountReport
from quant.evaluation.opened import open_model
from quant.llama.blocks import LoadedModel, int8_activations, logits_of
from quant.llama.forward import hidden_states

__all__ = ["TritforgeLM"]

_TOKENS_PER_PASS = {"cpu": 2048, "cuda": 32768}
_GENERATED = 256  # tokens, where a task names no number


class _Request(NamedTuple):
    """A continuation after its context, both as tokens, cut to the model's context from the left."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]

    @property
    def read(self) -> tuple[int, ...]:
        """What the model reads: all but the last token."""
        return self.context + self.continuation[:-1]


@register_model("tritforge")
class TritforgeLM(TemplateLM):
    """A loaded model, or what ``source`` names, with int8 activations or float ones."""

    def __init__(
        self,
        source: str | LoadedModel,
        activations: str = "int8",
        device: str | None = None,
        progress: CountReport | None = None,
        **_: object,
    ) -> None:
        """``source``: a finished run's folder or a model; other arguments are lm-eval's and have no meaning here.

        Raises:
            InputError: no such run or model; activations of another name.
        """
        super().__init__()
        if activations not in ("int8", "float"):
            raise InputError(f"activations must be int8 or float, not {activations!r}")
        if isinstance(source, str | Path):
            source = open_model(str(source), None, device or "cpu").loaded
        self.loaded, self.int8 = source, activations == "int8"
        self.progress: CountReport = progress or (lambda *_: None)
        self.cut = 0  # requests whose context was longer than the model's
        self._device = next(source.model.parameters()).device
        self._specials = source.tokenizer.encode("")

    @property
    def max_length(self) -> int:
        """Tokens that the model reads at once."""
        return self.loaded.shape.max_positions

    @property
    def eot_token_id(self) -> int:
        """The token that ends a text."""
        found = self.loaded.model.config.eos_token_id
        return found[0] if isinstance(found, list) else found

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without a context: the beginning's token, or the end's where there is none."""
        found = self.loaded.model.config.bos_token_id
        return self.eot_token_id if found is None else found

    @property
    def tokenizer_name(self) -> str:
        """What lm-eval keeps requests apart by."""
        return f"{self.loaded.shape.name} {self.loaded.weights_sha256[:12]}"

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **_: object) -> list[int]:
        """Tokens of a text, with what the model's tokenizer puts before it unless that is not wanted."""
        tokens = self.loaded.tokenizer.encode(string)
        plain = add_special_tokens is False and tokens[: len(self._specials)] == self._specials
        return tokens[len(self._specials) :] if plain else tokens

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-likelihood of each continuation, and whether greedy decoding would write it."""
        return super().loglikelihood(requests, disable_tqdm=True)

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood of whole texts, in windows of the model's context that do not overlap."""
        windows = [
            (number, ("", ""), *make_disjoint_window(pair))
            for number, request in enumerate(requests)
            for pair in get_rolling_token_windows(
                self.tok_encode(request.args[0]), self.prefix_token_id, self.max_length, 1
            )
        ]
        sums = [0.0] * len(requests)
        found = self._loglikelihood_tokens([window[1:] for window in windows])
        for (number, *_), (value, _) in zip(windows, found, strict=True):
            sums[number] += value
        return sums

    @torch.no_grad()
    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[tuple[str, str], list[int], list[int]]], **_: object
    ) -> list[tuple[float, bool]]:
        """Requests that read the same tokens share a pass: choices of one token cost one pass together."""
        cut = [self._cut(*tokens) for _, *tokens in requests]
        readers: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for number, request in enumerate(cut):
            readers[request.read].append(number)
        groups = _in_passes(sorted(readers, key=len), _TOKENS_PER_PASS[self._device.type])
        batches = [
            torch.nn.utils.rnn.pad_sequence([torch.tensor(row, device=self._device) for row in group], batch_first=True)
            for group in groups
        ]
        found: list[tuple[float, bool]] = [(0.0, False)] * len(requests)
        states = hidden_states(self.loaded.model, batches, self.int8, self.progress)
        for group, hidden in zip(groups, states, strict=True):
            for row, rows_states in zip(group, hidden, strict=True):
                for number in readers[row]:
                    found[number] = self._judged(cut[number], rows_states)
        return found

    def _cut(self, context: Sequence[int], continuation: Sequence[int]) -> _Request:
        """The last tokens of a context that is too long; never of the continuation.

        Raises:
            InputError: a continuation that is longer than the model's context by itself, or has no token.
        """
        if not continuation:
            raise InputError(
                "task: a continuation must have tokens of its own after its context, not none; begin its target with a "
                "space"
            )
        room = self.max_length + 1 - len(continuation)
        if room < 1:
            raise InputError(
                f"task: a continuation has {len(continuation)} tokens, but model {self.loaded.shape.name!r} reads "
                f"{self.max_length} at once; give a model of a longer context"
            )
        self.cut += len(context) > room
        return _Request(tuple(context)[-room:], tuple(continuation))

    def _judged(self, request: _Request, states: torch.Tensor) -> tuple[float, bool]:
        """``states``: outputs of the last block over what was read, ``(at least as long, hidden)``."""
        count, end = len(request.continuation), len(request.read)
        chances = logits_of(self.loaded.model, states[end - count : end]).float().log_softmax(-1)
        wanted = torch.tensor(request.continuation, device=self._device)
        value = chances.gather(1, wanted[:, None]).sum().item()
        return value, bool((chances.argmax(-1) == wanted).all())

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Greedy text after each context, up to a stop of the task, which is not part of it.

        Raises:
            InputError: a task that samples, or whose text does not fit into the model's context.
        """
        texts = []
        for number, request in enumerate(requests):
            context, given = request.args
            texts.append(self._greedy(context, normalize_gen_kwargs(given, _GENERATED)))
            self.progress(number + 1, len(requests))
        return texts

    @torch.no_grad()
    def _greedy(self, context: str, wanted: dict) -> str:
        count, stops = wanted["max_gen_toks"], [stop for stop in wanted["until"] if stop]
        if wanted["do_sample"]:
            raise InputError("task: do_sample must be false, as text is greedy here, not true")
        if count >= self.max_length:
            raise InputError(
                f"task: max_gen_toks must be below {self.max_length}, the context of model "
                f"{self.loaded.shape.name!r}, not {count}"
            )
        tokens = self.tok_encode(context)
        self.cut += len(tokens) > self.max_length - count
        row = torch.tensor([tokens[count - self.max_length :]], device=self._device)
        written: list[int] = []
        cache, text = None, ""
        with int8_activations(self.loaded.model, self.int8):
            for _ in range(count):
                output = self.loaded.model(row, past_key_values=cache, use_cache=True)
                cache, row = output.past_key_values, output.logits[:, -1:].argmax(-1)
                if (token := row.item()) == self.eot_token_id:
                    break
                written.append(token)
                text = self.loaded.tokenizer.decode(written)
                if any(stop in text for stop in stops):
                    break
        return text[: min([text.find(stop) for stop in stops if stop in text], default=len(text))]


def _in_passes(rows: Sequence[tuple[int, ...]], tokens: int) -> list[list[tuple[int, ...]]]:
    """Rows, which come by length, in groups that have at most so many tokens once the shorter ones are padded."""
    groups: list[list[tuple[int, ...]]] = []
    for row in rows:
        if groups and (len(groups[-1]) + 1) * len(row) <= tokens:
            groups[-1].append(row)
        else:
            groups.append([row])
    return groups
