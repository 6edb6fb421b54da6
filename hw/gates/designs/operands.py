"""Operands of a measurement: synthetic ones with a chosen share of zeros, or recorded activations and trits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hw.errors import InputError
from hw.gates.designs.float_reference import encode
from hw.gates.designs.floats import FloatFormat

__all__ = ["Operands", "recorded", "synthetic"]

ACTIVATION_SIGMA = 36.0  # int8 steps: a normal distribution whose 3.5 sigma is the range
INT8_WEIGHT_SIGMA = 36.0
INT4_WEIGHT_SIGMA = 2.5
INT2_WEIGHT_SIGMA = 1.0  # near the step of least error of a uniform 4-level quantizer of normal weights
FLOAT_WEIGHT_SIGMA = 0.03  # a typical weight; float activations have sigma 1
_SEED = 20

_INTEGER_WEIGHTS = {  # sigma, lowest, highest; four levels are too few to leave one out for symmetry
    "int8": (INT8_WEIGHT_SIGMA, -127, 127),
    "int4": (INT4_WEIGHT_SIGMA, -7, 7),
    "int2": (INT2_WEIGHT_SIGMA, -2, 1),
}


@dataclass(frozen=True)
class Operands:
    """``x[vector, lane]`` and ``w[tile, column, lane]``: integers or bits of floats; a tile serves ``run`` vectors."""

    x: np.ndarray
    w: np.ndarray
    name: str
    zero_fraction: float | None  # of trits

    @property
    def run(self) -> int:
        """Vectors that one weight tile serves."""
        return len(self.x) // len(self.w)


def synthetic(
    weights: str | FloatFormat, vectors: int, run: int, rows: int, cols: int, zero_fraction: float = 0.4
) -> Operands:
    """Normal activations and weights: ``"ternary"``, ``"int2"``, ``"int4"``, ``"int8"``, or both of a float format."""
    rng = np.random.default_rng(_SEED)
    shape_x, shape_w = (vectors, rows), (vectors // run, cols, rows)
    if isinstance(weights, FloatFormat):
        x, w = rng.normal(0, 1, shape_x), rng.normal(0, FLOAT_WEIGHT_SIGMA, shape_w)
        return Operands(encode(x, weights), encode(w, weights), "synthetic", None)
    x = np.clip(np.rint(rng.normal(0, ACTIVATION_SIGMA, shape_x)), -127, 127).astype(np.int64)
    if weights == "ternary":
        sign = 1 - 2 * rng.integers(0, 2, shape_w)
        w = np.where(rng.random(shape_w) < zero_fraction, 0, sign)
        return Operands(x, w, "synthetic", zero_fraction)
    sigma, low, high = _INTEGER_WEIGHTS[weights]
    w = np.clip(np.rint(rng.normal(0, sigma, shape_w)), low, high).astype(np.int64)
    return Operands(x, w, "synthetic", None)


def recorded(activations: Path, trits: Path, vectors: int, run: int, rows: int, cols: int) -> Operands:
    """Recorded operands: ``.npy`` int8 ``(tokens, k)`` and int8 trits ``(n, k)``, cut into tiles in stream order.

    Tiles walk along K first, then N; tokens repeat when the recording is shorter than ``run``.

    Raises:
        InputError: a file that cannot be read, or arrays that do not fit together or the array.
    """
    q, t = _load(activations), _load(trits)
    if q.shape[1] != t.shape[1]:
        raise InputError(f"{trits}: must have as many columns as {activations} ({q.shape[1]}), not {t.shape[1]}")
    if np.abs(t).max(initial=0) > 1:
        raise InputError(f"{trits}: must hold trits -1, 0 and 1, not values up to {np.abs(t).max()}")
    if q.shape[1] < rows or t.shape[0] < cols:
        raise InputError(f"{trits}: must hold at least {cols} x {rows} trits, not {t.shape[0]} x {t.shape[1]}")
    tiles = vectors // run
    places = [(n, k) for n in range(0, t.shape[0] - cols + 1, cols) for k in range(0, t.shape[1] - rows + 1, rows)]
    x, w = np.empty((tiles * run, rows), np.int64), np.empty((tiles, cols, rows), np.int64)
    for tile in range(tiles):
        n, k = places[tile * max(1, len(places) // tiles) % len(places)]
        tokens = np.arange(tile * run, (tile + 1) * run) % len(q)
        x[tile * run : (tile + 1) * run] = q[tokens, k : k + rows]
        w[tile] = t[n : n + cols, k : k + rows]
    return Operands(x, w, f"{Path(activations).stem}+{Path(trits).stem}", float((w == 0).mean()))


def _load(path: Path) -> np.ndarray:
    try:
        value = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: must be a readable .npy file ({error})") from None
    if value.ndim != 2 or not np.issubdtype(value.dtype, np.integer):
        raise InputError(f"{path}: must be a 2-D integer array, not {value.dtype} of shape {value.shape}")
    return value.astype(np.int64)
