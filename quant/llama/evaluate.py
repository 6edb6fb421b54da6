"""Perplexity over non-overlapping windows, and LAMBADA-style accuracy on the last words of sentences."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hw.errors import InputError
from hw.progress import CountReport
from quant.llama.blocks import Tokenizer, logits_of
from quant.llama.forward import hidden_states
from quant.text import last_word_passages

__all__ = ["LastWord", "last_word_accuracy", "last_words", "perplexity", "window_losses"]

_TOKENS_PER_PASS = 4096
_PASSAGES_PER_PASS = 20
_LARGEST_MEAN_LOSS = 700.0  # nats; the exponential of a little more is no double


class LastWord(NamedTuple):
    """A passage's tokens, and how many of them at its end are the word to be predicted."""

    tokens: list[int]
    target: int


def perplexity(model: PreTrainedModel, windows: Tensor, int8: bool, progress: CountReport | None = None) -> float:
    """``exp`` of the mean negative log-likelihood of every token but the first of each window; at most ``exp(700)``.

    ``windows``: int64 ``(count, length)``; ``int8``: per-token int8 activations (A8), else float (A16).

    Ref: the protocol of Frantar et al., GPTQ, arXiv 2210.17323, section 4: WikiText-2, windows of 2048.

    Raises:
        InputError: a loss that is not finite, with the window's number.
    """
    losses = window_losses(model, windows, int8, progress)
    return math.exp(min(sum(losses) / (len(windows) * (windows.shape[1] - 1)), _LARGEST_MEAN_LOSS))


@torch.no_grad()
def window_losses(
    model: PreTrainedModel, windows: Tensor, int8: bool, progress: CountReport | None = None
) -> list[float]:
    """The summed negative log-likelihood of each window: what ``perplexity`` is made of.

    Raises:
        InputError: a loss that is not finite, with the window's number.
    """
    device = next(model.parameters()).device
    batch = max(1, _TOKENS_PER_PASS // windows.shape[1]) if device.type == "cuda" else 1
    parts, losses = windows.to(device).split(batch), []
    for tokens, hidden in zip(parts, hidden_states(model, parts, int8, progress), strict=True):
        logits = logits_of(model, hidden)[:, :-1].flatten(0, 1)
        found = torch.nn.functional.cross_entropy(logits.float(), tokens[:, 1:].flatten(), reduction="none")
        losses += found.view(len(tokens), -1).sum(-1).tolist()
    for window, loss in enumerate(losses):
        if not math.isfinite(loss):
            raise InputError(f"loss of evaluation window {window} must be finite, not {loss}: the weights are damaged")
    return losses


def last_words(tokenizer: Tokenizer, text: str, passages: int, context_words: int = 60) -> list[LastWord]:
    """Passages that end with the last word of a sentence, spread evenly over ``text``.

    Ref: Paperno et al., LAMBADA, arXiv 1606.06031: predict the last word from a broad context. Its passages were chosen
    by people; these are every so-many-th sentence with ``context_words`` words before its last one.

    Raises:
        InputError: a text with fewer such sentences.
    """
    found = []
    for context, word in last_word_passages(text, passages, context_words):
        before, whole = tokenizer.encode(context), tokenizer.encode(f"{context} {word}")
        if whole[: len(before)] == before and len(whole) > len(before):
            found.append(LastWord(whole, len(whole) - len(before)))
    return found


@torch.no_grad()
def last_word_accuracy(
    model: PreTrainedModel, passages: Sequence[LastWord], int8: bool, progress: CountReport | None = None
) -> float:
    """Share of passages whose last word's tokens are all the model's first choice."""
    device = next(model.parameters()).device
    # Passages of similar length side by side; what pads a row comes after its words, unseen by causal attention.
    ordered = sorted(passages, key=lambda passage: len(passage.tokens))
    groups = [ordered[start : start + _PASSAGES_PER_PASS] for start in range(0, len(ordered), _PASSAGES_PER_PASS)]
    rows = [
        torch.nn.utils.rnn.pad_sequence([torch.tensor(one.tokens, device=device) for one in group], batch_first=True)
        for group in groups
    ]
    right = 0
    for group, tokens, hidden in zip(groups, rows, hidden_states(model, rows, int8, progress), strict=True):
        for passage, row, states in zip(group, tokens, hidden, strict=True):
            first, end = len(passage.tokens) - passage.target, len(passage.tokens)
            guesses = logits_of(model, states[first - 1 : end - 1]).argmax(-1)
            right += bool((guesses == row[first:end]).all())
    return right / len(passages)
