"""Randomized Hadamard matrices of every order that a model has, as orthogonal rotations of a last axis.

An order n = m 2^a is the Kronecker product of a Paley matrix of order m and a Sylvester matrix of order 2^a. Applied
to a vector, the Sylvester factor is a adds per element, the Paley factor m - 1; the signs and the power of two in the
normalization cost nothing.

Ref: Paley, "On Orthogonal Matrices", J. Math. Phys. 12 (1933); QuaRot (arXiv 2404.00456) section 3; SpinQuant
(arXiv 2405.16406) section 3.1.
"""

import torch
from torch import Tensor

from hw.errors import InputError

__all__ = ["RandomHadamard", "factor_order", "paley"]


class RandomHadamard:
    """``Q = diag(signs) H / sqrt(size)``, orthogonal; calling it on ``(..., size)`` gives ``x Q`` in the type of x."""

    def __init__(self, size: int, seed: int, what: str) -> None:
        """Draw the signs. ``what``: the dimension's name, for the complaint.

        Raises:
            InputError: no Hadamard matrix of this order is constructed here.
        """
        self.size = size
        self._order = factor_order(size, what)
        self._kernel = paley(self._order)
        drawn = torch.randint(2, (size,), generator=torch.Generator().manual_seed(seed))
        self._signs = 2 * drawn.double() - 1

    def __call__(self, x: Tensor) -> Tensor:
        """``x Q`` along the last axis, computed in float64 on the device of ``x``."""
        signs, kernel = self._signs.to(x.device), self._kernel.to(x.device)
        y = (x.double() * signs).reshape(-1, self._order, self.size // self._order)
        y = torch.einsum("rms,mk->rks", y, kernel) if self._order > 1 else y
        return (_sylvester(y) / self.size**0.5).reshape(x.shape).to(x.dtype)


def factor_order(size: int, what: str) -> int:
    """The smallest m such that ``size`` is m times a power of two and ``paley(m)`` exists; 1 for powers of two.

    Raises:
        InputError: there is none.
    """
    order = size & -size
    order = size // order  # the odd part
    if order == 1:
        return 1
    while size % order == 0:
        if _paley_prime(order) is not None:
            return order
        order *= 2
    raise InputError(
        f"{what} {size}: no Hadamard matrix of this order is known here (a power of two, or that times q + 1 or "
        "2 (q + 1) of a prime q); leave the model unrotated (rewrite: --balance without --rotate; roste: rotated=none)"
    )


def paley(order: int) -> Tensor:
    """The Paley matrix of an order that ``factor_order`` gives: float64 ``(order, order)`` of +1 and -1.

    With q a prime and S the quadratic characters of i - j modulo q, bordered by ones: I + S of order q + 1 where
    q = 3 (mod 4), and ``S x [[1, 1], [1, -1]] + I x [[1, -1], [-1, -1]]`` of order 2 (q + 1) where q = 1 (mod 4).

    Raises:
        ValueError: another order, or a matrix whose rows are not orthogonal.
    """
    if order == 1:
        return torch.ones(1, 1, dtype=torch.float64)
    q = _paley_prime(order)
    if q is None:
        raise ValueError(f"order must be q + 1 or 2 (q + 1) of a fitting prime q, not {order}")
    character = torch.full((q,), -1.0, dtype=torch.float64)
    character[torch.arange(q).square() % q] = 1
    character[0] = 0
    bordered = torch.ones(q + 1, q + 1, dtype=torch.float64)
    bordered[0, 0] = 0
    bordered[1:, 1:] = character[(torch.arange(q)[:, None] - torch.arange(q)) % q]
    identity = torch.eye(q + 1, dtype=torch.float64)
    if q % 4 == 3:
        bordered[1:, 0] = -1
        matrix = identity + bordered
    else:
        pair = torch.tensor([[1.0, 1.0], [1.0, -1.0]], dtype=torch.float64)
        diagonal = torch.tensor([[1.0, -1.0], [-1.0, -1.0]], dtype=torch.float64)
        matrix = torch.kron(bordered, pair) + torch.kron(identity, diagonal)
    if not torch.equal(matrix @ matrix.T, order * torch.eye(order, dtype=torch.float64)):
        raise ValueError(f"Paley matrix of order {order}: rows must be orthogonal")
    return matrix


def _paley_prime(order: int) -> int | None:
    """The prime q of the Paley matrix of this order, or None."""
    for q, remainder in ((order - 1, 3), (order // 2 - 1, 1)):
        if order % 4 == 0 and q % 4 == remainder and _is_prime(q):
            return q
    return None


def _is_prime(number: int) -> bool:
    return number > 1 and all(number % divisor for divisor in range(2, int(number**0.5) + 1))


def _sylvester(x: Tensor) -> Tensor:
    """``x H`` along the last axis with Sylvester's H of a power of two, by butterflies; as ``(rows, length)``."""
    length = x.shape[-1]
    half = 1
    while half < length:
        a, b = x.reshape(-1, length // (2 * half), 2, half).unbind(2)
        x = torch.stack((a + b, a - b), dim=2)
        half *= 2
    return x.reshape(-1, length)
