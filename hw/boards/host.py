"""Host side of the link: frames of a GEMM for a core behind a serial line, and what comes back.

To the device: ``D`` and 9 bytes (m, n, k), ``W`` and one weight word, ``A`` and one activation vector, ``S`` alone
(status wanted). From the device: ``R`` and one result beat, each sum sign-extended to whole bytes; ``S``, a byte of
flags (bits 0-1 status, 2 running, 3 illegal weights, 4 bytes lost) and six counters of 5 bytes. All little-endian.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.golden import tiles
from hw.trit import tile_stream

__all__ = ["COUNTER_BYTES", "HEADS", "Request", "gemm_requests", "read_result", "result_bytes"]

HEADS = {"descriptor": b"D", "weights": b"W", "activations": b"A", "status": b"S", "result": b"R"}
COUNTER_BYTES = 5


class Request(NamedTuple):
    """Bytes to send, and how many result frames the device owes once they have arrived."""

    data: bytes
    results: int


def gemm_requests(q: np.ndarray, trits: np.ndarray, config: ArrayConfig) -> Iterator[Request]:
    """Every request of ``q @ trits.T`` in the order that the core takes them: int8 ``(m, k)``, int8 ``(n, k)``.

    The device buffers one frame, so the owed results must be read before the next request is sent.

    Raises:
        InputError: sizes that do not agree, or a K that the accumulator cannot hold.
    """
    (m, k), (n, weights_k) = q.shape, trits.shape
    if k != weights_k or min(m, n, k) < 1:
        raise InputError(
            f"activations (m, k) and trits (n, k) must agree and not be empty, not {q.shape}, {trits.shape}"
        )
    config.check_k(k, "GEMM")
    yield Request(HEADS["descriptor"] + b"".join(size.to_bytes(3, "little") for size in (m, n, k)), 0)
    for tokens, columns, fold in tiles(m, n, k, config.token_tile, config.cols, config.rows):
        tile = np.zeros((config.cols, config.rows), np.int8)
        part = trits[columns, fold]
        tile[: part.shape[0], : part.shape[1]] = part
        for word in tile_stream(tile, config.packing, config.weight_bus_bits):
            yield Request(HEADS["weights"] + word.to_bytes(config.weight_bus_bits // 8, "little"), 0)
        for token in q[tokens, fold]:
            vector = np.pad(token, (0, config.rows - token.size)).astype(np.int8)
            yield Request(HEADS["activations"] + vector.tobytes(), int(fold.stop >= k))


def result_bytes(config: ArrayConfig) -> int:
    """Bytes of a result frame behind its head."""
    return config.cols * _sum_bytes(config)


def read_result(frame: bytes, config: ArrayConfig) -> list[int]:
    """The ``cols`` sums of a result frame, head excluded."""
    size = _sum_bytes(config)
    return [int.from_bytes(frame[i : i + size], "little", signed=True) for i in range(0, len(frame), size)]


def _sum_bytes(config: ArrayConfig) -> int:
    """Whole bytes of one accumulator."""
    return -(-config.accumulator_bits // 8)
