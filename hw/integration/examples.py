"""Three GEMMs for a bench that knows nothing of this project: register words, the two packets in, the packet out."""

import json
from typing import NamedTuple

import numpy as np

from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.formats import GemmFormat
from hw.golden import tiles
from hw.host.zynq import format_word, scales_word
from hw.job import CoreJob, golden_results, vector_stream, weight_stream

__all__ = ["ExampleGemm", "example_gemms", "packets_json", "result_packet"]

_SEED = 2026
_TOKENS = 5  # of the largest example: more would only take longer


class ExampleGemm(NamedTuple):
    """One GEMM as the bus sees it.

    ``words``: what registers m, n, k, format and scales are set to; the packets are bytes in stream order.
    """

    words: dict[str, int]
    weights: bytes
    activations: bytes
    results: bytes


def example_gemms(config: ArrayConfig) -> list[ExampleGemm]:
    """A single product, one whole tile, and edge tiles over several folds and column tiles; every option in use."""
    rng = np.random.default_rng(_SEED)
    sizes = [(1, 1, 1), (2, config.cols, config.rows), (_TOKENS, config.cols + 1, 2 * config.rows + 1)]
    return [_example(job, config) for job in (_job(rng, m, n, k, config) for m, n, k in sizes)]


def packets_json(config: ArrayConfig) -> str:
    """The examples as a JSON list for benches in Python, packets in hexadecimal."""
    gemms = [
        {"words": gemm.words, **{name: getattr(gemm, name).hex() for name in ("weights", "activations", "results")}}
        for gemm in example_gemms(config)
    ]
    return json.dumps(gemms, indent=1) + "\n"


def result_packet(job: CoreJob, config: ArrayConfig) -> bytes:
    """The golden results as the core streams them: a beat per token and column tile, columns beyond ``n`` included."""
    whole = _padded(job, config)
    m, n, _ = whole.sizes
    results = golden_results(whole, config)
    dtype = "<i1" if config.results == "int8" else "<i4"
    return b"".join(
        np.concatenate([results[token, columns], results[token, n:]]).astype(dtype).tobytes()
        for tokens, columns, _ in tiles(m, n, 1, config.token_tile, config.cols, 1)
        for token in range(tokens.start, tokens.stop)
    )


def _example(job: CoreJob, config: ArrayConfig) -> ExampleGemm:
    m, n, k = job.sizes
    words = {"m": m, "n": n, "k": k, "format": format_word(job, config), "scales": scales_word(job, config)}
    packets = weight_stream(job, config), vector_stream(job, config), result_packet(job, config)
    return ExampleGemm(words, *packets)


def _job(rng: np.random.Generator, m: int, n: int, k: int, config: ArrayConfig) -> CoreJob:
    """Random operands in as many planes as the accumulator holds, with the formats that the array has."""
    k = min(k, config.max_k)
    planes = next(p for p in range(config.planes, 0, -1) if k * _weight(p, config) <= config.max_k)
    formats = GemmFormat(planes, digits=config.digits, by_lanes=config.lane_loading)
    if config.results == "int8":
        largest = 127 * k * _weight(planes, config) * 2**config.max_exponent
        formats = formats._replace(row_scales=True, shift=min(63, max(0, int(largest).bit_length() + 3)))
    return CoreJob(
        rng.integers(-127, 128, (m, k), dtype=np.int8),
        rng.integers(-1, 2, (planes, n, k), dtype=np.int8),
        formats,
        rng.integers(0, config.max_exponent + 1, (planes, ceil_divide(k, config.rows), n))
        if config.group_exponent_bits
        else None,
        rng.integers(1, 1 << 15, n) if formats.row_scales else None,
        rng.integers(-100, 100, n) if formats.row_scales and config.sum_of_x else None,
    )


def _weight(planes: int, config: ArrayConfig) -> int:
    """What ``planes`` planes of ones come to."""
    return (3**planes - 1) // 2 if config.digits else planes


def _padded(job: CoreJob, config: ArrayConfig) -> CoreJob:
    """The job with zeros for the columns that its last column tile has beyond ``n``."""
    more = -job.sizes[1] % config.cols

    def padded(values: np.ndarray | None, axis: int) -> np.ndarray | None:
        if values is None:
            return None
        widths = [(0, more if at == axis else 0) for at in range(values.ndim)]
        return np.pad(values, widths)

    return job._replace(
        planes=padded(job.planes, 1),
        exponents=padded(job.exponents, 2),
        multipliers=padded(job.multipliers, 0),
        offsets=padded(job.offsets, 0),
    )
