"""A model whose attention reads K and V as a cache keeps them, in the ordinary forward pass over whole windows."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from quant.kv.agreement import HeadAgreement
from quant.kv.attention import attend
from quant.kv.formats import KvFormat

__all__ = ["cached_attention"]

_NAME = "quantized_cache"  # of the attention function, among transformers' own


@contextmanager
def cached_attention(
    model: PreTrainedModel, form: KvFormat | None, agreement: HeadAgreement | None = None
) -> Iterator[None]:
    """Inside, every layer attends to K and V as ``form`` keeps them; None changes nothing.

    ``agreement``: is given the outputs of every head beside those of float attention on the same operands.

    Raises:
        InputError: heads that the format does not fit.
    """
    if form is None:
        yield
        return
    config = model.config
    form.check(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)

    def attention(
        module: nn.Module,
        queries: Tensor,
        keys: Tensor,
        values: Tensor,
        visible: Tensor,
        scaling: float,
        softcap: float | None = None,
        **_: object,
    ) -> tuple[Tensor, None]:
        outputs = attend(queries, keys, values, visible, scaling, form, softcap)
        if agreement is not None:
            agreement.add(module.layer_idx, outputs, _float(queries, keys, values, visible, scaling, softcap))
        return outputs.transpose(1, 2).contiguous(), None

    own = config._attn_implementation
    AttentionMaskInterface.register(_NAME, _visible)
    ALL_ATTENTION_FUNCTIONS[_NAME] = attention
    config._attn_implementation = _NAME
    try:
        yield
    finally:
        config._attn_implementation = own
        del ALL_ATTENTION_FUNCTIONS[_NAME]


def _visible(**settings: object) -> Tensor:
    """transformers' mask, bool ``(1, 1, tokens, tokens)``, whole even where it is plainly causal."""
    return sdpa_mask(**(settings | {"allow_is_causal_skip": False}))  # type: ignore[arg-type]


def _float(
    queries: Tensor, keys: Tensor, values: Tensor, visible: Tensor, scaling: float, softcap: float | None
) -> Tensor:
    """Float attention of all heads: ``(batch, heads, tokens, d)``."""
    repeats = queries.shape[1] // keys.shape[1]
    keys, values = (x.repeat_interleave(repeats, 1) for x in (keys, values))
    if softcap is None:
        return nn.functional.scaled_dot_product_attention(queries, keys, values, attn_mask=visible, scale=scaling)
    scores = softcap * torch.tanh(queries @ keys.mT * scaling / softcap)
    return scores.masked_fill(~visible, -torch.inf).softmax(-1) @ values
