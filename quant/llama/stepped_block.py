"""A decoder layer taken step by step, from the input of one linear to that of the next, as calibration needs it.

Every step is a call of the layer's own modules, so its results are those of ``quant.llama.blocks.run_block`` bit for
bit. Where norms stand is what ``quant.llama.blocks.norm_names`` says of the family.
"""

from collections.abc import Callable
from contextlib import suppress

from torch import Tensor, nn
from transformers import PreTrainedModel

from quant.llama.blocks import (
    InputsTaken,
    block_inputs,
    block_linears,
    int8_activations,
    layer_arguments,
    norm_names,
    product_precision,
)

__all__ = ["SteppedBlock"]


class SteppedBlock:
    """One decoder layer; ``hidden``: ``(batch, length, hidden)``; inputs of linears are given before int8 rounding."""

    def __init__(self, model: PreTrainedModel, block: nn.Module, int8: bool) -> None:
        """``int8``: linears see per-token int8 activations."""
        self._model, self._block, self._int8 = model, block, int8
        self._linears = block_linears(block, 0)
        norms = [None if name is None else block.get_submodule(name) for name in norm_names(block)]
        self._before_attention, self._after_attention, self._before_mlp, self._after_mlp = norms
        self._multiplier = getattr(block, "residual_multiplier", 1.0)  # Granite's

    @property
    def adds(self) -> float | None:
        """What the outputs of o and down are multiplied by where they join ``hidden``; None: they pass a norm first."""
        return self._multiplier if self._after_attention is None and self._after_mlp is None else None

    def attention_in(self, hidden: Tensor) -> Tensor:
        """What q, k and v read."""
        return _normed(self._before_attention, hidden)

    def attention_out(self, hidden: Tensor) -> Tensor:
        """What the linear o reads."""
        arguments = layer_arguments(self._model, self._block, hidden)
        return self._input_of("o_proj", lambda: self._block.self_attn(self.attention_in(hidden), **arguments))

    def after_attention(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """``hidden`` and what attention adds to it."""
        added = _normed(self._after_attention, self._run(self._module("o_proj"), attended))
        return hidden + added * self._multiplier

    def mlp_in(self, hidden: Tensor) -> Tensor:
        """What gate and up read; ``hidden`` from ``after_attention``."""
        return _normed(self._before_mlp, hidden)

    def mlp_out(self, hidden: Tensor) -> Tensor:
        """What the linear down reads; ``hidden`` from ``after_attention``."""
        return self._input_of("down_proj", lambda: self._block.mlp(self.mlp_in(hidden)))

    def after_mlp(self, hidden: Tensor, gated: Tensor) -> Tensor:
        """The layer's output; ``hidden`` from ``after_attention``."""
        return hidden + _normed(self._after_mlp, self._run(self._module("down_proj"), gated)) * self._multiplier

    def _module(self, kind: str) -> nn.Module:
        return next(linear.module for linear in self._linears if linear.kind == kind)

    def _input_of(self, kind: str, run: Callable[[], object]) -> Tensor:
        with block_inputs(self._linears, last=kind) as seen, suppress(InputsTaken):
            self._run(run)
        return seen[kind]

    def _run(self, module: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        with int8_activations(self._block, self._int8), product_precision(self._model):
            return module(*inputs)


def _normed(norm: nn.Module | None, x: Tensor) -> Tensor:
    return x if norm is None else norm(x)
