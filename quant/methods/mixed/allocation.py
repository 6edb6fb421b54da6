"""SliM-LLM's salience-determined bit allocation: blocks of columns trade bits, as many more as less.

Ref: Huang et al., SliM-LLM, arXiv 2405.14917, section 3.2; code Aaronhuang-778/SliM-LLM ``slim-llm/slim_gptq.py`` and
``utils/bitsearch.py``. The i least salient blocks get a bit less, the i most salient a bit more; i from 1 up to less
than half of the blocks, as in that code, is chosen by the divergence of softmaxed outputs.
"""

import torch

from quant.methods.hessian import output_error, spans
from quant.methods.mixed.codes import min_max, nearest_codes, sign_grid, values_of

__all__ = ["block_salience", "exchanged", "exchanges", "output_divergence"]

_LEAST_PROBABILITY = 1e-6  # of the softmaxed outputs


def block_salience(weight: torch.Tensor, upper: torch.Tensor, group: int) -> torch.Tensor:
    """Sum of ``w**2 / U_jj**2`` over the rows and columns of each block: (blocks,).

    ``weight`` (n, k); ``upper``: U (k, k) of ``quant.methods.hessian.damp``.
    """
    salience = (weight.square() / upper.diagonal().square()).sum(0)
    return torch.stack([salience[start:stop].sum() for start, stop in spans(0, len(salience), group)])


def exchanged(salience: torch.Tensor, bits: int, pairs: int) -> list[int]:
    """Bits of each block where the ``pairs`` least and most salient ones trade a bit."""
    order = torch.argsort(salience, stable=True).tolist()
    widths = [bits] * len(order)
    for least, most in zip(order[:pairs], order[len(order) - pairs :], strict=True):
        widths[least], widths[most] = bits - 1, bits + 1
    return widths


def exchanges(
    weight: torch.Tensor,
    salience: torch.Tensor,
    inputs: torch.Tensor | None,
    hessian: torch.Tensor,
    bits: int,
    group: int,
) -> int:
    """How many pairs of blocks trade a bit: at least one where there are four blocks, none where there are fewer.

    ``inputs`` (tokens, k) judge a candidate by ``output_divergence``; without them its squared output error does.
    """
    blocks = list(spans(0, weight.shape[1], group))
    order = torch.argsort(salience, stable=True).tolist()
    difference = torch.cat([_rounded(weight[:, start:stop], bits) for start, stop in blocks], 1) - weight
    wanted = None if inputs is None else inputs @ weight.T
    outputs = None if inputs is None else wanted + inputs @ difference.T
    best, least = 0, torch.inf
    for pairs in range(1, len(blocks) // 2):
        for block, width in ((order[pairs - 1], bits - 1), (order[len(blocks) - pairs], bits + 1)):
            start, stop = blocks[block]
            before = difference[:, start:stop].clone()
            difference[:, start:stop] = _rounded(weight[:, start:stop], width) - weight[:, start:stop]
            if outputs is not None:
                outputs += inputs[:, start:stop] @ (difference[:, start:stop] - before).T
        error = output_error(difference, hessian).sum() if outputs is None else output_divergence(outputs, wanted)
        if error < least:
            best, least = pairs, error
    return best


def output_divergence(outputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
    """Mean over tokens of ``KL(softmax(outputs) || softmax(wanted))``, both (tokens, n), over the outputs n.

    In this order, and with probabilities of at least 1e-6, in the official code; the paper has the other order.
    """
    found, true = (torch.softmax(values, -1).clamp_min(_LEAST_PROBABILITY) for values in (outputs, wanted))
    return (found * (found.log() - true.log())).sum(-1).mean()


def _rounded(block: torch.Tensor, bits: int) -> torch.Tensor:
    """A block (n, columns) rounded without error feedback."""
    grid = sign_grid(block) if bits == 1 else min_max(block, bits)
    return values_of(nearest_codes(block, grid), grid)
