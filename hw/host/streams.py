"""A GEMM as the words that the core takes and gives: the one order of streams, for every way to reach a core."""

from collections.abc import Iterator

import numpy as np

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.golden import tiles
from hw.trit import tile_stream

__all__ = ["check_operands", "operand_tiles", "result_places"]


def check_operands(config: ArrayConfig, q: np.ndarray, trits: np.ndarray) -> tuple[int, int, int]:
    """m, n and k of ``q @ trits.T``: int8 ``(m, k)``, int8 ``(n, k)``.

    Raises:
        InputError: sizes that do not agree, or a K that the accumulator cannot hold.
    """
    (m, k), (n, weights_k) = q.shape, trits.shape
    if k != weights_k or min(m, n, k) < 1:
        raise InputError(
            f"activations (m, k) and trits (n, k) must agree and not be empty, not {q.shape}, {trits.shape}"
        )
    config.check_k(k, "GEMM")
    return m, n, k


def operand_tiles(config: ArrayConfig, q: np.ndarray, trits: np.ndarray) -> Iterator[tuple[list[bytes], list[bytes]]]:
    """Per tile in stream order: the bus words of its weights, and the vectors of its tokens; zeros where it pads."""
    (m, k), n = q.shape, len(trits)
    for tokens, columns, fold in tiles(m, n, k, config.token_tile, config.cols, config.rows):
        tile = np.zeros((config.cols, config.rows), np.int8)
        part = trits[columns, fold]
        tile[: part.shape[0], : part.shape[1]] = part
        words = tile_stream(tile, config.packing, config.weight_bus_bits)
        vectors = np.zeros((tokens.stop - tokens.start, config.rows), np.int8)
        vectors[:, : fold.stop - fold.start] = q[tokens, fold]
        yield [word.to_bytes(config.weight_bus_bits // 8, "little") for word in words], [v.tobytes() for v in vectors]


def result_places(config: ArrayConfig, m: int, n: int) -> Iterator[tuple[int, int]]:
    """Token and first column of each result beat, in stream order."""
    for tokens, columns, _ in tiles(m, n, 1, config.token_tile, config.cols, 1):  # one fold: results come once
        for token in range(tokens.start, tokens.stop):
            yield token, columns.start
