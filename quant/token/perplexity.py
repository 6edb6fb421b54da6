"""Negative log-likelihoods of the integer model and of float ones on the same windows, token by token.

Ref: the protocol of ``quant.llama.evaluate.perplexity``: every token but the first of each window.
"""

import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import torch

from hw.token.model import TokenModel
from hw.token.table import Table
from quant.llama.blocks import LoadedModel, int8_activations

__all__ = ["float_losses", "integer_losses", "losses_in_turn"]

_LOGITS_AT_ONCE = 64  # tokens


def integer_losses(model: TokenModel, window: np.ndarray) -> np.ndarray:
    """Natural units, float64 ``(length - 1,)``: of each token after the ones before it."""
    hidden = model.hidden(window[:-1], model.state(len(window)))
    found = []
    for start in range(0, len(hidden), _LOGITS_AT_ONCE):
        logit, scale = model.logits(hidden[start : start + _LOGITS_AT_ONCE])
        real = (logit * scale.value()[:, None]).astype(np.float32)
        real -= real.max(axis=1, keepdims=True)
        wanted = window[1 + start : 1 + start + len(real)]
        norm = np.log(np.exp(real).sum(axis=1, dtype=np.float64))
        found.append(norm - real[np.arange(len(real)), wanted])
    return np.concatenate(found)


def losses_in_turn(model: TokenModel, windows: np.ndarray, workers: int) -> Iterator[tuple[float, int]]:
    """Mean loss of each window ``(windows, length)`` in turn, and how many kernels saturated in it.

    ``workers``: processes that share the windows and, by fork, the model; 1 stays in this one.
    """
    if workers == 1:
        yield from (_mean_loss(model, window) for window in windows)
        return
    _SHARED.append(model)
    try:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("fork")) as pool:
            yield from pool.map(_mean_loss_of_shared, windows)
    finally:
        _SHARED.pop()


_SHARED: list[TokenModel] = []  # what processes inherit instead of a copy through a pipe


def _mean_loss_of_shared(window: np.ndarray) -> tuple[float, int]:
    return _mean_loss(_SHARED[-1], window)


def _mean_loss(model: TokenModel, window: np.ndarray) -> tuple[float, int]:
    before = model.flags.saturated
    return float(integer_losses(model, window).mean()), model.flags.saturated - before


@torch.no_grad()
def float_losses(loaded: LoadedModel, window: np.ndarray, tables: Sequence[Table] | None = None) -> np.ndarray:
    """The same of the model in float32 with int8 activations at its decoder linears (A8).

    ``tables``: embedding and head in digits, whose real values take the place of the model's own.
    """
    model, tokens = loaded.model, torch.from_numpy(window)
    places = [model.model.embed_tokens.weight, model.lm_head.weight]
    kept = [place.clone() for place in places] if tables else []
    try:
        for place, table in zip(places, tables or places, strict=True):
            if tables:
                place.copy_(torch.from_numpy(table.values()))
        with int8_activations(model):
            logits = model(tokens[None]).logits[0, :-1].float()
    finally:
        for place, own in zip(places, kept, strict=bool(tables)):
            place.copy_(own)
    return torch.nn.functional.cross_entropy(logits, tokens[1:], reduction="none").double().numpy()
