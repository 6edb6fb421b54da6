"""Products that find faults in an array of trits and int8, with their exact sums, and the comparison with them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from hw.formats import INT8_LIMIT
from hw.golden import gemm

__all__ = ["GemmCase", "Multiply", "check_case", "gemm_cases"]

Multiply = Callable[[np.ndarray, np.ndarray], np.ndarray]  # int8 (m, k), int8 trits (n, k) -> integers (m, n)


class GemmCase(NamedTuple):
    """One product ``y[m, n] = sum_k x[m, k] * w[n, k]``. ``sums``: what the golden model says of it, int64 (m, n)."""

    name: str
    x: np.ndarray  # int8 (m, k), -127 to 127
    trits: np.ndarray  # int8 (n, k), -1, 0 and 1
    sums: np.ndarray


def gemm_cases(rows: int, cols: int, seed: int = 0, tokens: int = 3, random: int = 8) -> Iterator[GemmCase]:
    """Cases for an array of ``rows`` lanes in each of ``cols`` columns.

    Largest sums of both signs, tiles that fill the array and that leave edges in either direction, a single lane, each
    lane and each column alone (which tells swapped ones apart), all zeros, and ``random`` products of random sizes with
    a third of zeros. ``seed``: of everything that is drawn.
    """
    rng = np.random.default_rng(seed)

    def drawn(m: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
        x = rng.integers(-INT8_LIMIT, INT8_LIMIT, (m, k), dtype=np.int8, endpoint=True)
        return x, rng.integers(-1, 1, (n, k), dtype=np.int8, endpoint=True)

    def full(sign: int) -> tuple[np.ndarray, np.ndarray]:
        return np.full((tokens, 2 * rows), INT8_LIMIT, np.int8), np.full((cols, 2 * rows), sign, np.int8)

    found = {
        "one lane": drawn(1, 1, 1),
        "one tile": drawn(tokens, cols, rows),
        "a column more": drawn(tokens, cols + 1, rows),
        "a lane more": drawn(tokens, cols, rows + 1),
        "both more": drawn(tokens + 1, 2 * cols + 1, 2 * rows + 1),
        "largest sums": full(1),
        "smallest sums": full(-1),
        "zeros": (drawn(tokens, cols, rows)[0], np.zeros((cols, rows), np.int8)),
        "each lane alone": (np.arange(1, rows + 1)[None] % INT8_LIMIT + 1, np.eye(rows)),
        "each column alone": (np.full((1, rows), 1), np.tril(np.ones((cols, rows)))),
    }
    for number in range(random):
        sizes = (int(rng.integers(1, 2 * limit, endpoint=True)) for limit in (tokens, cols, rows))
        found[f"random {number}"] = drawn(*sizes)
    for name, (x, trits) in found.items():
        x, trits = x.astype(np.int8), trits.astype(np.int8)
        yield GemmCase(name, x, trits, gemm(x, trits))


def check_case(case: GemmCase, multiply: Multiply) -> None:
    """Compare what ``multiply`` makes of the operands with the golden sums, bit for bit.

    Raises:
        AssertionError: another shape, numbers that are no integers, or the first sum that differs and how many do.
    """
    (m, k), n = case.x.shape, len(case.trits)
    where = f"{case.name} (m {m}, n {n}, k {k})"
    found = np.asarray(multiply(case.x.copy(), case.trits.copy()))
    if found.shape != case.sums.shape:
        raise AssertionError(f"{where}: results must have shape {case.sums.shape}, not {found.shape}")
    if not np.issubdtype(found.dtype, np.integer):
        raise AssertionError(f"{where}: results must be integers, not {found.dtype}")
    wrong = np.argwhere(found != case.sums)
    if len(wrong):
        row, column = map(int, wrong[0])
        raise AssertionError(
            f"{where}: y[{row}, {column}] must be {case.sums[row, column]}, not {found[row, column]}; "
            f"{len(wrong)} of {found.size} sums differ"
        )
