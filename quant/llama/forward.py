"""A whole model's forward pass, batch by batch, or for a streamed model block by block."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hw.progress import CountReport
from quant.llama.blocks import blocks, embed, int8_activations, run_block, streams, working_block

__all__ = ["hidden_states"]


def hidden_states(
    model: PreTrainedModel, batches: Sequence[Tensor], int8: bool, progress: CountReport | None = None
) -> Iterator[Tensor]:
    """Outputs of the last block, before the final norm: ``(rows, length, hidden)`` for each batch, in order.

    ``batches``: tokens, int64 ``(rows, length)`` on the model's device; ``int8``: per-token int8 activations at every
    linear. Each block of a streamed model is brought to the device once, so the states of all batches are held
    together. ``progress`` counts passes of a batch through a block.
    """
    layers = len(blocks(model))
    total, done = layers * len(batches), 0
    for together in [batches] if streams(model) else [[batch] for batch in batches]:
        with torch.no_grad():
            hidden = [embed(model, batch) for batch in together]
            for layer in range(layers):
                block = working_block(model, layer)
                with int8_activations(block, int8):
                    for index, states in enumerate(hidden):
                        hidden[index] = run_block(model, block, states)
                done += len(together)
                if progress:
                    progress(done, total)
        yield from hidden
