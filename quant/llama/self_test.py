"""After loading: does the model computed step by step say what transformers' own whole model says?

The reference is one forward pass of transformers' model with its plain attention, before any module is changed. The
other side is what calibration, evaluation and recording run: ``quant.llama.forward`` block by block.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hw.errors import InputError
from quant.llama.blocks import blocks, forget_arguments, logits_of, product_precision, streams, working_block
from quant.llama.forward import hidden_states
from quant.shapes import ModelShape

__all__ = ["check_function", "probe_tokens", "reference_logits", "short_window", "stepped_logits"]

_TOKENS = 48
_WINDOW = 20  # tokens that a layer with a sliding window sees of them, where its own window is longer
_TOLERANCE = 1e-3  # of the logits' norm
_TF32_TOLERANCE = 2e-2  # of a streamed model on a GPU, whose products have 10 bits after the point


def probe_tokens(shape: ModelShape) -> Tensor:
    """Tokens all over the vocabulary, int64 ``(1, length)``."""
    steps = torch.arange(min(_TOKENS, shape.max_positions))
    return ((7919 * steps * steps + 31 * steps + 1) % shape.vocab_size)[None]


@contextmanager
def short_window(model: PreTrainedModel) -> Iterator[None]:
    """Inside, layers with a sliding window have one so short that the probe is longer, and masks matter.

    A window of 4096 would take a text of more than 4096 tokens to be seen at all. Its size is a number that
    transformers' own masks are made with, for the reference and for the stepped forward pass.
    """
    own = getattr(model.config, "sliding_window", None)
    if own is None or own <= _WINDOW:
        yield
        return
    model.config.sliding_window = _WINDOW
    forget_arguments(model)
    try:
        yield
    finally:
        model.config.sliding_window = own
        forget_arguments(model)


@torch.no_grad()
def reference_logits(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Logits of transformers' own forward pass with its eager attention; blocks of a streamed model in float32."""
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    patched = blocks(model) if streams(model) else []
    for layer, block in enumerate(patched):
        block.forward = _forward_of(model, layer, block)
    try:
        with product_precision(model):
            return model(input_ids=tokens.to(model.lm_head.weight.device), use_cache=False).logits
    finally:
        for block in patched:
            del block.forward
        model.set_attn_implementation(before)


@torch.no_grad()
def stepped_logits(model: PreTrainedModel, tokens: Tensor) -> Tensor:
    """Logits of the forward pass that calibration and evaluation run."""
    (hidden,) = hidden_states(model, [tokens.to(model.lm_head.weight.device)], int8=False)
    return logits_of(model, hidden)


def check_function(model: PreTrainedModel, tokens: Tensor, reference: Tensor, where: str) -> float:
    """Norm of the difference of the logits over that of the reference's.

    Raises:
        InputError: it is too large to be rounding.
    """
    limit = _TF32_TOLERANCE if streams(model) and reference.device.type == "cuda" else _TOLERANCE
    ours = stepped_logits(model, tokens)
    difference = ((ours - reference).norm() / reference.norm().clamp_min(torch.finfo(torch.float32).tiny)).item()
    if not difference <= limit:
        raise InputError(
            f"{where}: logits of the loaded model must be those of transformers' own forward pass within {limit:g} of "
            f"their norm, not {difference:.2g}: this model's function is not understood here"
        )
    return difference


def _forward_of(model: PreTrainedModel, layer: int, block: torch.nn.Module):
    def forward(hidden: Tensor, **arguments: object) -> Tensor:
        own = block.__dict__.pop("forward")  # the copy has the class's own
        try:
            return working_block(model, layer)(hidden, **arguments)
        finally:
            block.forward = own

    return forward
