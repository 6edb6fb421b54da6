"""A quantized LLaMA as a ``hw.token.model.TokenModel``: every weight and constant of the whole token."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch

from hw.errors import InputError
from hw.progress import StageReport
from hw.token.attention import AttentionFormat, attention_constants
from hw.token.calibrate import calibrated
from hw.token.decoder import FRACTION, Layer
from hw.token.formats import Flags, check_accumulator
from hw.token.model import TokenModel
from hw.token.norm import norm_constants
from hw.token.rope import neighbour_rows, rotary_table
from hw.token.table import Table, looked_up
from quant.llama.blocks import LoadedModel, is_tied, norm_weights
from quant.shapes import ModelShape
from quant.token.job import TokenFormat
from quant.token.linears import parts_of
from quant.token.table import stored_constants, table_in_digits
from quant.weights.solution import LinearSolution
from quant.weights.stored_table import StoredTable

__all__ = ["token_model", "with_attention"]


def token_model(
    loaded: LoadedModel,
    solution: Callable[[int, str], LinearSolution],
    form: TokenFormat,
    windows: np.ndarray,
    context: int,
    progress: StageReport | None = None,
    tables: Mapping[str, StoredTable] | None = None,
) -> TokenModel:
    """Build the integers of a model whose linears are ``solution(layer, kind)``; norms and tables are ``loaded``'s.

    ``tables``: those whose integers a run has trained, by their names in its checkpoint; the others are rounded to the
    digits of ``form``. ``windows``: sample tokens ``(count, length)`` that the shifts are calibrated on; ``context``:
    the longest one.

    Raises:
        InputError: an architecture or a solution that the whole token has no kernels for, or formats that do not fit.
    """
    shape, model = loaded.shape, loaded.model
    _check(shape, form, context)
    gains = {name: gain.detach().double().cpu().numpy() for name, gain in norm_weights(model).items()}
    embedding = _table("embed_tokens", model.model.embed_tokens.weight, form, tables or {})
    head = embedding if is_tied(model) else _table("lm_head", model.lm_head.weight, form, tables or {})
    made = TokenModel(
        embedding=embedding,
        layers=[_layer(shape, number, solution, gains, form, context) for number in range(shape.layers)],
        last_norm=norm_constants(gains["norm"] * head.channels(), shape.rms_norm_eps, FRACTION),
        head=head,
        rotary=rotary_table(context, shape.head_dim, shape.rope_theta),
        form=form.attention,
        kv_heads=shape.kv_heads,
    )
    return with_attention(made, form.attention, windows, progress)


def with_attention(
    model: TokenModel, form: AttentionFormat, windows: np.ndarray, progress: StageReport | None = None
) -> TokenModel:
    """The same weights with another attention, calibrated on sample tokens ``(count, length)``; flags are lowered.

    Raises:
        InputError: formats that do not fit.
    """
    x, layers = np.stack([looked_up(window, model.embedding) for window in windows]), []
    for layer in model.layers:
        layer, x = calibrated(layer, x, model.rotary, form, len(model.rotary))
        layers.append(layer)
        if progress:
            progress("integers", len(layers), len(model.layers))
    return replace(model, layers=layers, form=form, flags=Flags())


def _table(name: str, weight: torch.Tensor, form: TokenFormat, tables: Mapping[str, StoredTable]) -> Table:
    if name in tables:
        return stored_constants(tables[name], FRACTION)
    return table_in_digits(weight.detach().cpu(), form.table_digits, FRACTION)


def _layer(
    shape: ModelShape,
    number: int,
    solution: Callable[[int, str], LinearSolution],
    gains: dict[str, np.ndarray],
    form: TokenFormat,
    context: int,
) -> Layer:
    """One layer before its calibration."""
    orders = {
        "q_proj": neighbour_rows(shape.heads, shape.head_dim),
        "k_proj": neighbour_rows(shape.kv_heads, shape.head_dim),
    }

    def parts(kind: str):
        return parts_of(solution(number, kind), FRACTION, f"layer {number}, {kind}", orders.get(kind))

    def norm(name: str):
        return norm_constants(gains[f"layers.{number}.{name}"], shape.rms_norm_eps, FRACTION)

    return Layer(
        input_norm=norm("input_layernorm"),
        q=parts("q_proj"),
        k=parts("k_proj"),
        v=parts("v_proj"),
        o=parts("o_proj"),
        post_norm=norm("post_attention_layernorm"),
        gate=parts("gate_proj"),
        up=parts("up_proj"),
        down=parts("down_proj"),
        attention=attention_constants(form.attention, shape.head_dim, context, FRACTION, 0, 0),
        up_fraction=FRACTION,
    )


def _check(shape: ModelShape, form: TokenFormat, context: int) -> None:
    wrong = {
        f"activation {shape.activation!r}": shape.activation != "silu",
        "norms before o_proj and down_proj": shape.sub_norms,
        "biases": shape.qkv_bias or shape.o_bias or shape.mlp_bias,
        "norms of queries and keys": shape.query_key_norm is not None,
        "norms behind attention and MLP": shape.post_norms or not shape.pre_norms,
        "a mixture of experts": shape.experts is not None,
        "soft caps": shape.attention_softcap or shape.logit_softcap,
        f"constants that scale {' and '.join(shape.scaled)}": bool(shape.scaled),
        f"rotary positions scaled by {shape.rope_scaling}": shape.rope_scaling is not None,
        "heads or layers without rotary positions": bool(shape.layers_without_rope) or shape.rotary_dim is not None,
        f"heads of {shape.head_dim}": shape.head_dim % 2 == 1,
        f"a window of {shape.sliding_window} tokens": (shape.sliding_window or context) < context,
    }
    if found := [what for what, there in wrong.items() if there]:
        raise InputError(f"model {shape.name!r}: the whole token has no kernels for {found[0]}; use a LLaMA with SiLU")
    if context > shape.max_positions:
        raise InputError(f"context must be at most the model's {shape.max_positions} positions, not {context}")
    check_accumulator(shape.hidden_size, form.table_digits, f"logits of {shape.hidden_size} channels")
