"""One GEMM with everything that its descriptor and streams carry, and what the core must answer."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hw.config import ArrayConfig
from hw.division import ceil_divide
from hw.errors import InputError
from hw.formats import LAST_PLANE_BITS, PLAIN, SCALE_BITS, SHIFT_BITS, SIZE_BITS, GemmFormat
from hw.golden import requantize, scaled_sums, tiles
from hw.trit import tile_stream

__all__ = ["CoreJob", "descriptor_bits", "golden_results", "matrix", "vector_stream", "weight_stream"]


class CoreJob(NamedTuple):
    """Operands and formats of one GEMM.

    ``q``: int8 ``(m, k)``; ``planes``: int8 ``(p, n, k)``, as many as ``formats.planes``; ``exponents``: ``(p, folds,
    n)`` for arrays with ``group_exponent_bits``, None for zeros; ``multipliers``, ``offsets``: ``(n,)`` where
    ``formats.row_scales``.
    """

    q: np.ndarray
    planes: np.ndarray
    formats: GemmFormat = PLAIN
    exponents: np.ndarray | None = None
    multipliers: np.ndarray | None = None
    offsets: np.ndarray | None = None

    @property
    def sizes(self) -> tuple[int, int, int]:
        """m, n, k."""
        return self.q.shape[0], self.planes.shape[1], self.q.shape[1]

    def check(self, config: ArrayConfig) -> None:
        """Refuse a job that does not fit together or not on ``config``.

        Raises:
            InputError: naming the operand or format.
        """
        if self.planes.ndim != 3 or self.q.ndim != 2 or self.q.shape[1] != self.planes.shape[2] or 0 in self.sizes:
            raise InputError(
                f"operands must be (m, k) and (planes, n, k) and not empty, not {self.q.shape} and {self.planes.shape}"
            )
        if not len(self.planes) == self.formats.planes <= config.planes:
            raise InputError(
                f"planes must be as many as the format's {self.formats.planes} and at most {config.planes} "
                f"on array {config.name!r}, not {len(self.planes)}"
            )
        for name, option in (("digits", "digits"), ("by_lanes", "lane_loading")):
            if getattr(self.formats, name) and not getattr(config, option):
                raise InputError(f"{name} must be false: array {config.name!r} has {option} false")
        if self.formats.digits:
            config.check_k(self.sizes[2], "GEMM", self.formats.planes)
        else:
            config.check_k(self.sizes[2] * self.formats.planes, "GEMM, over all planes")
        if self.formats.row_scales and (config.results != "int8" or self.multipliers is None):
            raise InputError(
                f"row_scales must come with multipliers, and results of array {config.name!r} must be int8"
            )
        if self.exponents is not None and not config.group_exponent_bits:
            raise InputError(f"exponents must not come: array {config.name!r} has group_exponent_bits 0")
        if self.formats.offset and not (config.sum_of_x and config.results == "int8"):
            raise InputError(f"offset must be 0 on array {config.name!r}, not {self.formats.offset}")
        scale = 1 << SCALE_BITS - 1
        limits = {
            "shift": (self.formats.shift, 0, (1 << SHIFT_BITS) - 1),
            "multiplier": (self.formats.multiplier, -scale, scale - 1),
            "offset": (self.formats.offset, -scale, scale - 1),
            "multipliers": (self.multipliers, -scale, scale - 1),
            "offsets": (self.offsets, -scale, scale - 1),
            "exponents": (self.exponents, 0, config.max_exponent),
        }
        for name, (values, low, high) in limits.items():
            if values is not None and not (low <= np.min(values) and np.max(values) <= high):
                raise InputError(f"{name} must be {low} to {high}, not {np.min(values)} to {np.max(values)}")


def golden_results(job: CoreJob, config: ArrayConfig) -> np.ndarray:
    """What the core must answer: int8 ``(m, n)`` of the requantizer, or int64 sums.

    Sums of an array with ``sum_of_x`` are ``(m, n + 1)``: the last column is each token's sum of activations.
    """
    sums = scaled_sums(job.q, job.planes, config.rows, job.exponents, job.formats.plane_weights)
    x_sum = job.q.astype(np.int64).sum(axis=1)
    if config.results == "sums":
        return np.concatenate([sums, x_sum[:, None]], axis=1) if config.sum_of_x else sums
    formats = job.formats
    multiplier: np.ndarray | int = formats.multiplier
    offset: np.ndarray | int = formats.offset
    if formats.row_scales and job.multipliers is not None:
        multiplier, offset = job.multipliers, 0 if job.offsets is None else job.offsets
    if not config.sum_of_x:
        return requantize(sums, multiplier, formats.shift)
    return requantize(sums, multiplier, formats.shift, x_sum, offset)


def descriptor_bits(job: CoreJob, config: ArrayConfig) -> int:
    """The descriptor's payload: ``hw.gateware.ports.descriptor_layout``'s fields, the first in the lowest bits."""
    formats = job.formats
    fields = [(size, SIZE_BITS) for size in job.sizes]
    if config.planes == 2:
        fields.append((formats.planes - 1, 1))
    if config.planes > 2:
        fields.append((formats.planes - 1, LAST_PLANE_BITS))
    fields += [(int(formats.digits), 1)] * config.digits + [(int(formats.by_lanes), 1)] * config.lane_loading
    if config.results == "int8":
        fields += [(int(formats.row_scales), 1), (formats.shift, SHIFT_BITS), (formats.multiplier, SCALE_BITS)]
        if config.sum_of_x:
            fields.append((formats.offset, SCALE_BITS))
    return _packed(fields)


def weight_stream(job: CoreJob, config: ArrayConfig) -> bytes:
    """All bus words of the GEMM in stream order: per tile its trits and exponents, after a last fold its scales."""
    m, n, k = job.sizes
    once = []
    for columns in _cuts(n, config.cols):
        for plane in range(len(job.planes)):
            for fold, lanes in enumerate(_cuts(k, config.rows)):
                tile = np.zeros((config.cols, config.rows), np.int8)
                part = job.planes[plane, columns, lanes]
                tile[: part.shape[0], : part.shape[1]] = part
                ordered = tile.T if job.formats.by_lanes else tile
                words = tile_stream(ordered, config.packing, config.weight_bus_bits)
                once += [word.to_bytes(config.weight_bus_bits // 8, "little") for word in words]
                once.append(_exponents(job, config, plane, fold, columns))
        once.append(_scales(job, config, columns))
    return b"".join(once) * ceil_divide(m, config.token_tile)


def vector_stream(job: CoreJob, config: ArrayConfig) -> bytes:
    """All activation vectors in stream order; every column tile and plane takes them again.

    A vector is a token's lanes of one fold, or (outputs stationary) a position of K of all tokens of the tile.
    """
    (m, n, k), q = job.sizes, job.q
    again = ceil_divide(n, config.cols) * len(job.planes)
    if config.structure.outputs_stationary:
        padded = np.pad(q, ((0, -m % config.rows), (0, 0)))
        tiles_of_tokens = padded.reshape(-1, config.rows, k).transpose(0, 2, 1)
        return b"".join(np.ascontiguousarray(tokens).tobytes() * again for tokens in tiles_of_tokens)
    padded = np.pad(q, ((0, 0), (0, -k % config.rows)))
    out = []
    for tokens in _cuts(m, config.token_tile):
        folds = padded[tokens].reshape(tokens.stop - tokens.start, -1, config.rows).transpose(1, 0, 2)
        out.append(np.ascontiguousarray(folds).tobytes() * again)
    return b"".join(out)


def matrix(values: np.ndarray, job: CoreJob, config: ArrayConfig) -> np.ndarray:
    """Result beats in stream order, ``(beats, per beat)``, as ``golden_results`` gives them."""
    m, n, _ = job.sizes
    out = np.zeros((m, n + (values.shape[1] - config.cols)), np.int64)
    beats = iter(values)
    for tokens, columns, _ in tiles(m, n, 1, config.token_tile, config.cols, 1):
        for token in range(tokens.start, tokens.stop):
            beat = next(beats)
            out[token, columns] = beat[: columns.stop - columns.start]
            out[token, n:] = beat[config.cols :]
    return out


def _cuts(size: int, step: int) -> Iterator[slice]:
    """``size`` cut into steps, the last may be short."""
    return (slice(first, min(first + step, size)) for first in range(0, size, step))


def _packed(fields: list[tuple[int, int]]) -> int:
    """Numbers of so many bits, two's complement, the first in the lowest bits."""
    whole = place = 0
    for value, bits in fields:
        whole |= (int(value) & (1 << bits) - 1) << place
        place += bits
    return whole


def _words(config: ArrayConfig, fields: list[tuple[int, int]], beats: int) -> bytes:
    return _packed(fields).to_bytes(beats * config.weight_bus_bits // 8, "little")


def _exponents(job: CoreJob, config: ArrayConfig, plane: int, fold: int, columns: slice) -> bytes:
    """The words behind a tile's trits; column c has bits c*B to c*B + B - 1, B = ``group_exponent_bits``."""
    given = np.zeros(0, int) if job.exponents is None else job.exponents[plane, fold, columns]
    return _words(config, [(value, config.group_exponent_bits) for value in given], config.exponent_beats)


def _scales(job: CoreJob, config: ArrayConfig, columns: slice) -> bytes:
    """The words behind the last fold of a column tile: per column its multiplier, then its offset."""
    if not job.formats.row_scales or job.multipliers is None:
        return b""
    fields = []
    for index in range(columns.start, columns.stop):
        fields.append((job.multipliers[index], SCALE_BITS))
        if config.sum_of_x:
            fields.append((0 if job.offsets is None else job.offsets[index], SCALE_BITS))
    return _words(config, fields, config.scale_beats)
