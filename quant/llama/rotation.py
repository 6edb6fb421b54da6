"""Rotations that weights take up: the residual stream, and the values of every head, turned by Hadamard matrices.

Of the stream: the gains of the norms are fused into the linears behind them, then the stream is turned by an orthogonal
Q: a norm without gains commutes with Q, so what writes to the stream is followed by Q and what reads it is preceded by
Q^T, in the weights. Values between v and o are turned the same way, head by head. Outliers of single channels spread
over all of them, in the weights as in the activations.

It only changes numbers, so the hardware runs the result as it runs the original. What no weight in front of it can
take up stays as it is: the inputs of o across heads and of down across channels are products of two others, and
rotating them needs adders at run time (``quant.rewrite.online_rotation``).

Ref: SpinQuant (arXiv 2405.16406) section 3.1, R1 and R2; QuaRot (arXiv 2404.00456) section 4.
"""

from collections.abc import Collection

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from hw.progress import StageReport
from quant.llama.blocks import block_linears, block_norms, blocks
from quant.llama.hadamard import RandomHadamard
from quant.shapes import ModelShape

__all__ = ["READERS", "WRITERS", "by_head", "rotate", "rotations", "store", "untie"]

READERS = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))  # of the first and the second norm of a block
WRITERS = ("o_proj", "down_proj")


def rotations(shape: ModelShape, seed: int) -> tuple[RandomHadamard, RandomHadamard]:
    """Of the stream, and of the values of every head.

    Raises:
        InputError: a size without Hadamard matrix, named.
    """
    return RandomHadamard(shape.hidden_size, seed, "hidden_size"), RandomHadamard(shape.head_dim, seed + 1, "head_dim")


@torch.no_grad()
def rotate(
    model: PreTrainedModel,
    shape: ModelShape,
    seed: int,
    progress: StageReport,
    of_stream: bool = True,
    of_values: Collection[int] | None = None,
) -> None:
    """Rotate in place: the residual stream by one random Hadamard matrix, the values of every head by another.

    ``of_stream``: whether the stream is; ``of_values``: layers whose values are, None = all. With the stream the head
    is untied from the embedding, whose rows have no gain to take up. Computed in float64, rounded once.

    Raises:
        InputError: a size without Hadamard matrix, named.
    """
    stream, values = rotations(shape, seed)
    if of_stream:
        untie(model)
        embedding, head, norm = model.model.embed_tokens.weight, model.lm_head.weight, model.model.norm.weight
        store(embedding, stream(embedding.double()))
        store(head, stream(head.double() * norm.double()))
        norm.fill_(1)
    for layer, block in enumerate(blocks(model)):
        progress("rotate", layer, shape.layers)
        modules = {linear.kind: linear.module for linear in block_linears(block, layer)}
        weights = {kind: module.weight.double() for kind, module in modules.items()}
        biases = {kind: module.bias.double() for kind, module in modules.items() if module.bias is not None}
        if of_values is None or layer in of_values:
            weights["v_proj"] = by_head(values, weights["v_proj"].T, shape.head_dim).T
            weights["o_proj"] = by_head(values, weights["o_proj"], shape.head_dim)
            if "v_proj" in biases:
                biases["v_proj"] = by_head(values, biases["v_proj"], shape.head_dim)
        if of_stream:
            for kinds, gain in zip(READERS, block_norms(block, layer).values(), strict=True):
                for kind in kinds:
                    weights[kind] = stream(weights[kind] * gain.double())
                gain.fill_(1)
            for kind in WRITERS:
                weights[kind] = stream(weights[kind].T).T
                if kind in biases:
                    biases[kind] = stream(biases[kind])
        for kind, module in modules.items():
            store(module.weight, weights[kind])
            if kind in biases:
                store(module.bias, biases[kind])
    progress("rotate", shape.layers, shape.layers)


def untie(model: PreTrainedModel) -> None:
    """Give the head a matrix of its own, equal to the embedding it was."""
    if model.config.tie_word_embeddings:
        model.lm_head.weight = nn.Parameter(model.model.embed_tokens.weight.clone(), requires_grad=False)
        model.config.tie_word_embeddings = False


def by_head(rotation: RandomHadamard, x: Tensor, head_dim: int) -> Tensor:
    """Rotate every head of a last axis that holds heads side by side."""
    return rotation(x.unflatten(-1, (-1, head_dim))).flatten(-2)


def store(parameter: nn.Parameter, value: Tensor) -> None:
    """Put a value into a parameter, in the parameter's type."""
    parameter.data = value.to(parameter.dtype).contiguous()
