"""Replay of recorded integers on the array: sums bit for bit, zero fractions and toggles as the lanes see them."""

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from hw.artifact import sha256_file
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.formats import INT8_BITS
from quant.recording import LinearRecord, Recording, sums_digest
from quant.weights.checkpoint import Checkpoint
from sim.kernels.lanes import array_sums, boundary_toggles, grid_toggles, stream_toggles
from sim.result import Statistics

__all__ = [
    "LinearReplay",
    "Skipping",
    "Toggles",
    "linear_sums",
    "mean_skipping",
    "measure_skipping",
    "measure_toggles",
    "recording_origin",
    "replay",
    "replay_statistics",
]

_DECODE_TOKENS = 2  # recorded tokens whose decode order is walked


class Toggles(NamedTuple):
    """Of one order of issues, per useful multiply-accumulate; random dense operands toggle 0.5 of their bits."""

    selected: float  # toggles per bit of the lane's operand: +x, 0 or -x - 1
    entered: float  # toggles per bit of the activation before selection
    steady: float  # share of issues in which a lane's operand stays as it was, so that its clock could rest


class Skipping(NamedTuple):
    """What an array that leaves out zero trits could gain on these tiles; measured, not assumed."""

    fullest_column: float  # mean over tiles of the largest share of nonzero trits that a column of the tile holds
    empty_tiles: float  # share of tiles without a nonzero trit

    @property
    def speed_bound(self) -> float:
        """Speed-up of columns that add only nonzero trits, where a tile waits for its fullest column."""
        return 1 / self.fullest_column if self.fullest_column else math.inf


class LinearReplay(NamedTuple):
    """One linear of the recording on the array."""

    layer: int
    kind: str
    weights: int
    zero_fraction: float
    prefill: Toggles
    decode: Toggles
    skipping: Skipping


def linear_sums(q: np.ndarray, trits: np.ndarray, group: int, array: ArrayConfig) -> np.ndarray:
    """Group sums of one linear as the array makes them: int8 (m, k), int8 (planes, n, k) -> int32 (planes, m, n, g).

    Each plane and each group of ``group`` columns is streamed as a GEMM of its own; the last group may be short.

    Raises:
        InputError: a group too long for the array's accumulators.
    """
    k = q.shape[-1]
    array.check_k(min(group, k), "replay")
    activations, nonzero, negative = q.astype(np.int32), *_masks(trits)
    return np.stack(
        [
            np.stack(
                [
                    array_sums(
                        np.ascontiguousarray(activations[:, start : start + group]),
                        np.ascontiguousarray(nonzero[plane, :, start : start + group].T),
                        np.ascontiguousarray(negative[plane, :, start : start + group].T),
                        array.token_tile,
                        array.cols,
                        array.rows,
                    )
                    for start in range(0, k, group)
                ],
                axis=-1,
            )
            for plane in range(trits.shape[0])
        ]
    )


def measure_toggles(q: np.ndarray, trits: np.ndarray, array: ArrayConfig) -> Toggles:
    """Toggles of the stream order of ``array``: int8 (m, k), int8 (planes, n, k), planes after one another.

    All tokens of ``q`` run as one GEMM, so one token gives the order of decode. The first issue toggles nothing, nor
    does the step from one token tile or plane to the next. On a systolic grid tokens pass side by side, so that each
    toggles as if it were alone.
    """
    activations = q.astype(np.int32)
    (m, k), (planes, n, _) = q.shape, trits.shape
    issued = planes * m * n * k
    if array.structure.outputs_stationary:
        masks = [*zip(*_masks(trits), strict=True)]
        counts = sum(grid_toggles(token, *plane, array.cols) for token in activations for plane in masks)
        return Toggles(counts[0] / (INT8_BITS * issued), counts[1] / (INT8_BITS * issued), counts[2] / issued)
    within, same = stream_toggles(activations, array.token_tile)  # (k,) each; a lane of trit -1 toggles the same bits
    nonzero = np.count_nonzero(trits, axis=(0, 1))  # (k,)
    selected = int((nonzero * within).sum())
    entered = planes * n * int(within.sum())
    issues_within = m - math.ceil(m / array.token_tile)
    steady = int((nonzero * same + (planes * n - nonzero) * issues_within).sum())  # a zero trit holds its lane at zero
    for plane_nonzero, plane_negative in zip(*_masks(trits), strict=True):
        for start in range(0, m, array.token_tile):
            last = activations[min(start + array.token_tile, m) - 1]
            edges = boundary_toggles(activations[start], last, plane_nonzero, plane_negative, array.cols, array.rows)
            selected += int(edges[0])
            entered += int(edges[1])
            steady += int(edges[2])
    return Toggles(selected / (INT8_BITS * issued), entered / (INT8_BITS * issued), steady / issued)


def measure_skipping(trits: np.ndarray, array: ArrayConfig) -> Skipping:
    """Nonzero trits per column of every tile: int8 (planes, n, k); lanes beyond the matrix hold zero."""
    planes, n, k = trits.shape
    padded = np.pad(trits != 0, ((0, 0), (0, -n % array.cols), (0, -k % array.rows)))
    tiles = padded.reshape(planes, -1, array.cols, padded.shape[2] // array.rows, array.rows)
    nonzero = tiles.sum(axis=4)  # (planes, column tiles, cols, folds)
    fullest = nonzero.max(axis=2)
    return Skipping(float(fullest.mean()) / array.rows, float((fullest == 0).mean()))


def replay(recording: Recording, checkpoint: Checkpoint, array: ArrayConfig) -> Iterator[LinearReplay]:
    """Replay each recorded linear; one result per linear, as they are done.

    Raises:
        InputError: the recording is not of this checkpoint, or the array cannot hold its sums.
        RuntimeError: sums that differ from those that torch computed; this is a defect.
    """
    if sha256_file(checkpoint.path) != recording.weights_sha256:
        raise InputError(
            f"{checkpoint.path}: must be the checkpoint that was recorded; record again: make quant MODEL=..."
        )
    for record in recording.linears:
        yield _replay_linear(record, recording, checkpoint, array)


def _replay_linear(
    record: LinearRecord, recording: Recording, checkpoint: Checkpoint, array: ArrayConfig
) -> LinearReplay:
    linear = checkpoint.linear(record.layer, record.kind)
    q = linear.columns(recording.activations(record))
    sums = linear_sums(q, linear.trits, record.group, array)
    if sums_digest(sums) != record.sums_sha256:
        raise RuntimeError(f"replayed sums of {record.kind} of layer {record.layer} differ from the recorded ones")
    tokens = _DECODE_TOKENS if array.structure.outputs_stationary else len(q)  # all alike on a grid
    parts = linear.streamed()
    sizes = [trits.size for _, trits in parts]

    def toggles(first: int, stop: int) -> Toggles:
        found = [measure_toggles(q[first:stop, inputs], trits, array) for inputs, trits in parts]
        return Toggles(*np.average(found, axis=0, weights=sizes).tolist())

    single = [toggles(token, token + 1) for token in range(min(_DECODE_TOKENS, len(q)))]
    skipping = [measure_skipping(trits, array) for _, trits in parts]
    return LinearReplay(
        layer=record.layer,
        kind=record.kind,
        weights=sum(sizes),
        zero_fraction=1.0 - np.count_nonzero(linear.trits) / sum(sizes),
        prefill=toggles(0, tokens),
        decode=Toggles(*np.mean(single, axis=0).tolist()),
        skipping=Skipping(*np.average(skipping, axis=0, weights=sizes).tolist()),
    )


def mean_skipping(replays: Iterable[LinearReplay]) -> Skipping:
    """Means over linears, weighted by trits."""
    replays = list(replays)
    weights = [one.weights for one in replays]
    return Skipping(
        float(np.average([one.skipping.fullest_column for one in replays], weights=weights)),
        float(np.average([one.skipping.empty_tiles for one in replays], weights=weights)),
    )


def recording_origin(recording: Recording, array: ArrayConfig) -> str:
    """What the statistics of a replay were measured on, in one line."""
    tokens = max(len(q) for q, _ in recording.inputs.values())
    return f"replay of {tokens} recorded tokens of {recording.text} ({recording.method}) on {array.name}"


def replay_statistics(replays: Iterable[LinearReplay], origin: str) -> dict[str, dict[str, Statistics]]:
    """Measured statistics by phase and kind, means over layers weighted by trits; for ``simulate``."""
    by_kind: dict[str, list[LinearReplay]] = {}
    for one in replays:
        by_kind.setdefault(one.kind, []).append(one)
    return {
        phase: {kind: _mean_statistics(ones, phase, origin) for kind, ones in by_kind.items()}
        for phase in ("prefill", "decode")
    }


def _mean_statistics(replays: list[LinearReplay], phase: str, origin: str) -> Statistics:
    weights = [one.weights for one in replays]
    toggles = [one.prefill if phase == "prefill" else one.decode for one in replays]
    return Statistics(
        zero_fraction=float(np.average([one.zero_fraction for one in replays], weights=weights)),
        toggle_rate=float(np.average([one.selected for one in toggles], weights=weights)),
        input_toggle_rate=float(np.average([one.entered for one in toggles], weights=weights)),
        steady_operands=float(np.average([one.steady for one in toggles], weights=weights)),
        measured=True,
        origin=origin,
    )


def _masks(trits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 trits -> the masks of ``sim.kernels.lanes``, int32 of 0 and -1."""
    return -(trits != 0).astype(np.int32), -(trits < 0).astype(np.int32)
