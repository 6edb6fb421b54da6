"""The Hessian of a linear's output error, its damped inverse, and the error feedback that every solver builds on.

For one row w of the weights the output error over the calibration inputs X is ``(w - v) H (w - v)^T`` with
``H = X^T X``.

Ref: Frantar et al., GPTQ, arXiv 2210.17323, sections 3 and 4 (lazy batches, Cholesky form).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch

from hw.errors import InputError

__all__ = [
    "BLOCK",
    "DampedHessian",
    "check_weights",
    "compensate",
    "damp",
    "output_error",
    "prepare",
    "push_error",
    "spans",
]

BLOCK = 128  # columns whose errors are collected before they reach the rest of the matrix


class DampedHessian(NamedTuple):
    """A Hessian that can be inverted.

    ``matrix``: damped, diagonal 1 at dead inputs, float32 (k, k); ``upper``: the upper triangular U with
    ``inverse(matrix) = U^T U``, float32 (k, k); ``dead``: inputs that were always zero, bool (k,).
    """

    matrix: torch.Tensor
    upper: torch.Tensor
    dead: torch.Tensor


def damp(hessian: torch.Tensor | None, k: int, damping: float) -> DampedHessian:
    """Add ``damping`` times the mean of the diagonal to the diagonal, and factor the inverse in float64.

    Raises:
        InputError: no Hessian, a wrong shape, values that are not finite, or a matrix that stays singular.
    """
    if hessian is None:
        raise InputError("this method needs the Hessian of the calibration inputs: give calibration text")
    if hessian.shape != (k, k):
        raise InputError(f"the Hessian must be {k} x {k}, one row per input, not {tuple(hessian.shape)}")
    if faulty := int((~torch.isfinite(hessian)).any(0).sum()):
        raise InputError(
            f"the Hessian must be finite, but {faulty} of {k} inputs have NaN or infinite products: "
            "the calibration inputs overflowed; check the layers before this one"
        )
    matrix = hessian.float().clone()
    diagonal = matrix.diagonal()
    dead = diagonal == 0
    diagonal[dead] = 1.0
    diagonal += damping * diagonal.mean()
    try:
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(matrix.double()))
        upper = torch.linalg.cholesky(inverse, upper=True).float()
    except torch.linalg.LinAlgError:
        raise InputError(
            f"the Hessian must be positive definite, but is not with damping {damping}: "
            "use more calibration text or a larger option 'damping'"
        ) from None
    return DampedHessian(matrix, upper, dead)


def check_weights(weight: torch.Tensor) -> None:
    """Refuse weights that are not finite.

    Raises:
        InputError: how many are not.
    """
    if faulty := int((~torch.isfinite(weight)).sum()):
        raise InputError(f"weights must be finite, but {faulty} of {weight.numel()} are not")


def prepare(weight: torch.Tensor, hessian: torch.Tensor | None, damping: float) -> tuple[torch.Tensor, DampedHessian]:
    """A float32 copy of ``weight`` (n, k) with zeros at dead inputs, and its Hessian ready for error feedback.

    Raises:
        InputError: weights that are not finite, or a Hessian that ``damp`` refuses.
    """
    check_weights(weight)
    damped = damp(hessian, weight.shape[1], damping)
    work = weight.detach().float().clone()
    work[:, damped.dead] = 0
    return work, damped


def output_error(difference: torch.Tensor, hessian: torch.Tensor) -> torch.Tensor:
    """Squared output error ``d H d^T`` over the calibration inputs, of each row d of ``difference`` (n, k): (n,)."""
    return ((difference @ hessian) * difference).sum(1)


def spans(start: int, stop: int, width: int) -> Iterator[tuple[int, int]]:
    """Cut ``start..stop`` into pieces of ``width``; the last may be short."""
    for left in range(start, stop, width):
        yield left, min(left + width, stop)


def compensate(
    weight: torch.Tensor,
    upper: torch.Tensor,
    start: int,
    stop: int,
    quantize: Callable[[int, torch.Tensor], torch.Tensor],
) -> None:
    """Quantize columns ``start..stop`` of ``weight`` (n, k) in place, pushing each one's error into the later columns.

    ``quantize(column index, column (n,))`` returns the values (n,) that are kept.
    """
    for left, right in spans(start, stop, BLOCK):
        block = weight[:, left:right]
        factor = upper[left:right, left:right]
        errors = torch.empty_like(block)
        for j in range(right - left):
            value = quantize(left + j, block[:, j])
            errors[:, j] = (block[:, j] - value) / factor[j, j]
            block[:, j] = value
            block[:, j + 1 :] -= errors[:, j, None] * factor[j, None, j + 1 :]
        weight[:, right:] -= errors @ upper[left:right, right:]


def push_error(weight: torch.Tensor, upper: torch.Tensor, start: int, stop: int, values: torch.Tensor) -> None:
    """Replace columns ``start..stop`` by ``values`` (n, stop - start) at once; only later blocks take up the errors.

    The form of BiLLM's code: the columns of one block do not compensate each other.
    """
    errors = (weight[:, start:stop] - values) / upper.diagonal()[start:stop]
    weight[:, start:stop] = values
    weight[:, stop:] -= errors @ upper[start:stop, stop:]
