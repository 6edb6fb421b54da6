"""Decoder linears as ops: formats and statistics from a manifest, or assumed ones without it."""

from collections.abc import Mapping

from hw.errors import InputError
from quant.manifest import LinearEntry, Manifest
from quant.shapes import Gemm, ModelShape
from sim.result import Statistics
from sim.trace.ops import LinearOp
from sim.trace.statistics import Order, assumed_statistics

__all__ = ["linear_ops"]


def linear_ops(
    phase: Order,
    kind: str,
    shape: ModelShape,
    tokens: int,
    manifest: Manifest | None,
    measured: Mapping[str, Statistics],
    zero_fraction: float | None = None,
) -> list[LinearOp]:
    """The linear ``kind`` of all layers: one op per distinct format among them, usually one.

    ``zero_fraction``: of trits about which neither ``manifest`` nor ``measured`` says anything; None: assumed.

    Raises:
        InputError: a manifest that lacks the linear in some layers.
    """
    n, k = shape.linear(kind)
    gemm = Gemm(tokens, n, k)
    if manifest is None:
        statistics = measured.get(kind) or assumed_statistics(phase, zero_fraction)
        return [LinearOp(name=kind, count=shape.layers, gemm=gemm, statistics=statistics)]
    variants: dict[tuple, list[LinearEntry]] = {}
    for entry in manifest.linears:
        if entry.kind == kind:
            variants.setdefault(_format(entry), []).append(entry)
    if (found := sum(map(len, variants.values()))) != shape.layers:
        raise InputError(f"manifest of {manifest.model!r}: {kind} must be there for {shape.layers} layers, not {found}")
    ops: list[LinearOp] = []
    for entries in variants.values():
        first, count = entries[0], len(entries)
        zero_fraction = sum(entry.zero_fraction for entry in entries) / count
        origin = f"zero fraction measured in the weights ({manifest.method}); random activations"
        ops.append(
            LinearOp(
                name=kind,
                count=count,
                gemm=gemm,
                planes=first.planes,
                plane_columns=first.plane_columns,
                group=first.group if first.scale_kind in ("group", "pow2") else None,
                scale_groups=first.groups if first.scale_kind == "group" else 1,
                offset_groups=first.groups if first.has_offsets else 0,
                scale_bits=sum(entry.scale_bits + entry.offset_bits + entry.bias_bits for entry in entries) / count,
                float_macs=first.rank * (n + k),
                int8_macs=sum(entry.outliers for entry in entries) / count,
                side_bits=sum(entry.side_bits for entry in entries) / count,
                permuted=first.permutation_bits > 0,
                statistics=measured.get(kind) or assumed_statistics(phase, zero_fraction, origin),
            )
        )
    return ops


def _format(entry: LinearEntry) -> tuple:
    """What makes the array and the vector unit do other work for a linear of the same size."""
    side = entry.rank, entry.outliers > 0, entry.permutation_bits > 0
    return entry.planes, entry.plane_columns, entry.group, entry.scale_kind, entry.has_offsets, *side
