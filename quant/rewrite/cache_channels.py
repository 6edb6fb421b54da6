"""Channels of K and V balanced: other weights, the same scores and values, and a cache whose channels are more alike.

A pair of K's channels that RoPE turns together is divided by a factor, in the rows of k, and the same pair of q is
multiplied by it: turns leave a pair's length alone, so scores stay. A channel of V is divided in the rows of v and
multiplied in the columns of o. Where a norm of each head stands behind k, its gains, which all heads share, take the
factors.

Ref: the static, channel-wise part of WKVQuant's two-dimensional quantization (arXiv 2402.12065), whose factors are
learned there; here they follow the largest magnitude over calibration tokens, ``s = max|x|^exponent``, as SmoothQuant's
do (arXiv 2211.10438, equation 4). Its shifts would need biases and are left out.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hw.progress import StageReport
from quant.llama.blocks import block_linears, blocks, run_block
from quant.procedures.calibrate import CalibrationBlock, calibration_blocks, in_passes
from quant.shapes import ModelShape

__all__ = ["balance_cache"]

_LEAST = 1e-4  # of the largest channel: what one that is always zero counts as


@torch.no_grad()
def balance_cache(
    model: PreTrainedModel, shape: ModelShape, windows: Tensor, exponent: float, progress: StageReport
) -> None:
    """Balance in place; ``windows``: calibration tokens, int64 ``(count, length)``."""
    for item in calibration_blocks(model, windows, int8=False):
        progress("balance the cache", item.layer, shape.layers)
        outputs = []
        with _largest(item, shape) as largest:
            for part in in_passes(item.hidden):
                outputs.append(run_block(model, item.block, part))
        item.outputs = torch.cat(outputs)
        _balance(blocks(model)[item.layer], item.layer, largest, shape, exponent)
    progress("balance the cache", shape.layers, shape.layers)


@contextmanager
def _largest(item: CalibrationBlock, shape: ModelShape) -> Iterator[dict[str, Tensor]]:
    """Inside, passes leave the largest magnitudes of K's channels (a pair's length) and V's, ``(kv_heads, d)``."""
    modules = {linear.kind: linear.module for linear in item.linears}
    found: dict[str, Tensor] = {}

    def keep(name: str, values: Tensor) -> None:
        heads = values.detach().double().reshape(-1, shape.kv_heads, shape.head_dim)
        lengths = _pair_lengths(heads, shape) if name == "k" else heads.abs()
        largest = lengths.amax(0)
        found[name] = torch.maximum(found[name], largest) if name in found else largest

    normed = item.block.self_attn.k_norm if shape.query_key_norm else None
    handles = [
        (normed or modules["k_proj"]).register_forward_hook(lambda _, __, output: keep("k", output)),
        modules["v_proj"].register_forward_hook(lambda _, __, output: keep("v", output)),
    ]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def _pair_lengths(heads: Tensor, shape: ModelShape) -> Tensor:
    """Of each channel, the length of the pair that RoPE turns it in: ``(tokens, heads, d)``; its magnitude beyond."""
    turned, rest = heads[..., : shape.rotary_dim or shape.head_dim], heads[..., shape.rotary_dim or shape.head_dim :]
    first, second = turned.chunk(2, -1)
    length = torch.hypot(first, second)
    return torch.cat((length, length, rest.abs()), -1)


def _balance(block: nn.Module, layer: int, largest: dict[str, Tensor], shape: ModelShape, exponent: float) -> None:
    modules = {linear.kind: linear.module for linear in block_linears(block, layer)}
    share = shape.heads // shape.kv_heads
    values = _factors(largest["v"], exponent)
    _scale_rows(modules["v_proj"], 1 / values.flatten())
    columns = values.repeat_interleave(share, 0).flatten()
    output = modules["o_proj"].weight
    output.data = (output.double() * columns).to(output.dtype)
    if shape.query_key_norm == "head":
        keys = _factors(largest["k"].amax(0, keepdim=True), exponent)[0]
        for norm, factors in ((block.self_attn.q_norm, keys), (block.self_attn.k_norm, 1 / keys)):
            norm.weight.data = (norm.weight.double() * factors).to(norm.weight.dtype)
    else:
        keys = _factors(largest["k"], exponent)
        _scale_rows(modules["k_proj"], 1 / keys.flatten())
        _scale_rows(modules["q_proj"], keys.repeat_interleave(share, 0).flatten())


def _factors(largest: Tensor, exponent: float) -> Tensor:
    """``(heads, d)`` float64: the geometric mean of a head's factors is 1."""
    floored = largest.clamp_min(_LEAST * float(largest.max()) or 1.0)
    logs = exponent * floored.log()
    return (logs - logs.mean(-1, keepdim=True)).exp()


def _scale_rows(linear: nn.Linear, factors: Tensor) -> None:
    """Multiply outputs, biases among them, in the weights."""
    linear.weight.data = (linear.weight.double() * factors[:, None]).to(linear.weight.dtype)
    if linear.bias is not None:
        linear.bias.data = (linear.bias.double() * factors).to(linear.bias.dtype)
