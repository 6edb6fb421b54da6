"""Stimulus and expected outputs of lanes and arrays: integers by the golden model, floats by NumPy."""

from dataclasses import dataclass

import numpy as np

from hw.gates.designs.columns import CoreColumn, TernaryColumn
from hw.gates.designs.float_columns import FloatColumn, FloatLane
from hw.gates.designs.float_reference import decode, float_column, float_lane
from hw.gates.designs.lanes import TernaryLane
from hw.gates.designs.operands import Operands
from hw.golden import gemm

__all__ = ["Bench", "array_bench", "lane_bench"]

_TRIT_CODE = np.array([0b11, 0b00, 0b01])  # index: trit + 1; see hw/trit.py


@dataclass(frozen=True)
class Bench:
    """``inputs[port]``: uint8 bits ``(cycles, width)``; ``expected[cycle, output]`` of the vector given in that cycle.

    Its sum stands at the outputs ``latency`` cycles later. Floats are compared as values, integers modulo 2^bits.
    """

    inputs: dict[str, np.ndarray]
    expected: np.ndarray
    latency: int
    bits: int
    float_format: object

    def wrong(self, samples: np.ndarray, ignored: int) -> int:
        """How many outputs differ, the first ``ignored`` cycles aside."""
        cycles, outputs = self.expected.shape
        raw = (samples.reshape(cycles, outputs, self.bits).astype(np.int64) << np.arange(self.bits)).sum(axis=-1)
        if self.float_format is not None:
            got, wanted = decode(raw, self.float_format), self.expected
        else:
            got, wanted = raw, self.expected % (1 << self.bits)
        return int((got[self.latency + ignored :] != wanted[ignored : cycles - self.latency]).sum())


def _bits(values: np.ndarray, width: int) -> np.ndarray:
    """Integers ``(cycles, ...)`` as bits ``(cycles, n)``, least significant first."""
    values = np.asarray(values, dtype=np.int64)
    return ((values[..., None] >> np.arange(width)) & 1).astype(np.uint8).reshape(len(values), -1)


def _codes(w: np.ndarray, component: object) -> np.ndarray:
    """Weights as the component takes them: codes of trits, or two's complement."""
    ternary = isinstance(component, TernaryLane | TernaryColumn | CoreColumn)
    return _TRIT_CODE[w + 1] if ternary else w


def lane_bench(lane, operands: Operands, interval: int) -> Bench:
    """A lane gets the operands of lane 0, column 0, a new pair every cycle; sums start every ``interval`` cycles."""
    x = operands.x[:, 0]
    w = np.repeat(operands.w[:, 0, 0], operands.run)
    first = (np.arange(len(x)) % interval == 0).astype(np.int64)
    if isinstance(lane, FloatLane):
        expected = float_lane(x, w, first, lane.operand, lane.accumulator).astype(np.float64)
        bits, fmt, latency, width = lane.accumulator.bits, lane.accumulator, 3, lane.operand.bits
        codes = w
    else:
        product = np.array([gemm(np.array([[a]]), np.array([[b]]))[0, 0] for a, b in zip(x, w, strict=True)])
        expected = _running(product[:, None], interval)[:, 0]
        bits, fmt, width = lane.accumulator_bits, None, 8
        latency = 3 if getattr(lane, "pipelined", False) else 2
        codes = _codes(w, lane)
    inputs = {
        "x": _bits(x, width),
        "w": _bits(codes, width if fmt else getattr(lane, "weight_bits", 2)),
        "first": _bits(first, 1),
    }
    return Bench(inputs, expected[:, None], latency, bits, fmt)


def array_bench(column, operands: Operands) -> Bench:
    """An array of columns: a weight tile is loaded with the first vector of its run, and a sum spans the run."""
    x, w, run = operands.x, operands.w, operands.run
    cycles, cols = len(x), w.shape[1]
    tile = np.arange(cycles) // run
    first = (np.arange(cycles) % run == 0).astype(np.int64)
    latency = column.registers + 2
    inputs = {"first": _bits(first, 1), "load": _bits(first, 1)}
    if isinstance(column, FloatColumn):
        fmt, bits, width = column.accumulator, column.accumulator.bits, column.operand.bits
        columns = [float_column(x, w[tile][:, c], first, column.operand, fmt) for c in range(cols)]
        expected = np.stack(columns, axis=1).astype(np.float64)
        inputs["start"] = np.zeros((cycles, cols), np.uint8)
        codes = w
    else:
        fmt, bits, width = None, column.accumulator_bits, 8
        bias = np.array([[column.bias_constant(int(n)) for n in row] for row in (w < 0).sum(axis=-1)])  # (tiles, cols)
        sums = np.concatenate([gemm(x[t * run : (t + 1) * run], w[t]) for t in range(len(w))])
        expected = _running(sums - bias[tile], run) + run * bias[tile]
        seen = np.maximum(np.arange(cycles) - latency + 1, 0) // run  # the accumulator takes it with its first sum
        inputs["start"] = _bits(run * bias[seen], bits)
        codes = _codes(w, column)
    inputs["x"] = _bits(x, width)
    inputs["w"] = _bits(codes[tile].reshape(cycles, -1), column.weight_bits)
    return Bench(inputs, expected, latency, bits, fmt)


def _running(values: np.ndarray, interval: int) -> np.ndarray:
    """Running sums along axis 0 that start anew every ``interval`` rows."""
    total = values.cumsum(axis=0)
    starts = np.arange(len(values)) // interval * interval
    return total - np.where(starts[:, None] > 0, total[starts - 1], 0)
