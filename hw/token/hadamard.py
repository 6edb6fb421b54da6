"""WHT: the Walsh-Hadamard transform of a head by additions, not normalized, so that it is exact.

``log2(size)`` stages ``(a, b) -> (a + b, a - b)`` over elements ``size / 2``, then ``size / 4``, ... apart; a value
grows by at most ``log2(size)`` bits. Both q and k go through it, so a score grows by ``size`` exactly, which the
constant of SCORE takes back. A head that is no power of two (96) is transformed in blocks of its largest one (32).
Ref: QuaRot, arXiv 2404.00456, section 4 (rotated keys).
"""

from hw.golden import hadamard as transformed
from hw.golden import hadamard_block as block_size

__all__ = ["block_size", "transformed"]
