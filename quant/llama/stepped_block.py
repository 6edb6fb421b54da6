"""A decoder layer taken step by step, from the input of one linear to that of the next, as calibration needs it.

Every step is a call of the layer's own modules, so its results are those of ``quant.llama.blocks.run_block`` bit for
bit. The modules' names are those of transformers' LLaMA relatives, as in ``quant.llama.blocks``.
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
    product_precision,
    rotary_arguments,
)

__all__ = ["SteppedBlock"]


class SteppedBlock:
    """One decoder layer; ``hidden``: ``(batch, length, hidden)``; inputs of linears are given before int8 rounding."""

    def __init__(self, model: PreTrainedModel, block: nn.Module, int8: bool) -> None:
        """``int8``: linears see per-token int8 activations."""
        self._model, self._block, self._int8 = model, block, int8
        self._linears = block_linears(block, 0)

    def attention_in(self, hidden: Tensor) -> Tensor:
        """What q, k and v read."""
        return self._block.input_layernorm(hidden)

    def attention_out(self, hidden: Tensor) -> Tensor:
        """What the linear o reads."""
        arguments = rotary_arguments(self._model, hidden)
        return self._input_of("o_proj", lambda: self._block.self_attn(self.attention_in(hidden), **arguments))

    def after_attention(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """``hidden`` and what attention adds to it."""
        return hidden + self._run(self._block.self_attn.o_proj, attended)

    def mlp_in(self, hidden: Tensor) -> Tensor:
        """What gate and up read; ``hidden`` from ``after_attention``."""
        return self._block.post_attention_layernorm(hidden)

    def mlp_out(self, hidden: Tensor) -> Tensor:
        """What the linear down reads; ``hidden`` from ``after_attention``."""
        return self._input_of("down_proj", lambda: self._block.mlp(self.mlp_in(hidden)))

    def after_mlp(self, hidden: Tensor, gated: Tensor) -> Tensor:
        """The layer's output; ``hidden`` from ``after_attention``."""
        return hidden + self._run(self._block.mlp.down_proj, gated)

    def _input_of(self, kind: str, run: Callable[[], object]) -> Tensor:
        with block_inputs(self._linears, last=kind) as seen, suppress(InputsTaken):
            self._run(run)
        return seen[kind]

    def _run(self, module: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        with int8_activations(self._block, self._int8), product_precision(self._model):
            return module(*inputs)
