"""The shipped machines side by side, each beside its own memory: measured by ``python -m energy docs``."""

import json
from pathlib import Path

from energy.job import Job, simulate_machines
from energy.reports.rows import percent, si
from energy.summary import JobSummary
from hw.artifact import write_text
from hw.config import load_array
from hw.pages import markdown_table
from quant.shapes import load_shape

__all__ = ["family_table", "measure_family"]

_COSTS = "gates:asap7"
_JOBS = (
    Job(array="edge-32x32", costs=_COSTS, kv_bits=16),
    Job(array="edge-32x32-balanced", costs=_COSTS, kv_bits=8),
    Job(array="mobile-64x64", costs=_COSTS, kv_bits=8),
    Job(array="server-128x128", memory="hbm3-6400", costs=_COSTS, kv_bits=8),
)
_HEADER = (
    *("array", "memory", "K and V", "bus, bits", "vector lanes", "weights + activations, KiB", "area, mm2", "prefill"),
    *("J/token", "W", "decode tokens/s", "J/token", "of the memory's bandwidth"),
)


def measure_family(path: Path) -> None:
    """Simulate LLaMA-2-7B on every shipped machine and write one row each."""
    rows = []
    for job in _JOBS:
        summary, results = simulate_machines(job, load_shape(job.model))
        decode = results[0].phase("decode")
        moved = (decode.counts.dram_read_bits + decode.counts.dram_write_bits) / 8
        rows.append(_row(job, summary, moved / results[0].seconds(decode) / summary.memory_bytes_per_s))
    write_text(path, json.dumps(rows, indent=1) + "\n")


def family_table(path: Path) -> str:
    """One line per machine."""
    return markdown_table(list(_HEADER), [_cells(row) for row in json.loads(path.read_text(encoding="utf-8"))])


def _row(job: Job, summary: JobSummary, bandwidth: float) -> dict:
    array, machine = load_array(job.array), summary.ternary
    prefill, decode = machine.phase("prefill"), machine.phase("decode")
    return {
        "array": job.array,
        "memory": job.memory,
        "cache": _cache(job),
        "weight_bus_bits": array.weight_bus_bits,
        "vector_lanes": array.vector_lanes,
        "buffers_kib": [array.weight_buffer_bytes / 1024, array.activation_buffer_bytes / 1024],
        "area_mm2": machine.area.total.typical if machine.area else None,
        "prefill_s": prefill.seconds,
        "prefill_j_per_token": prefill.total_j_per_token.typical,
        "prefill_w": prefill.total_j_per_token.typical * prefill.tokens_per_s,
        "decode_tokens_per_s": decode.tokens_per_s,
        "decode_j_per_token": decode.total_j_per_token.typical,
        "bandwidth_share": bandwidth,
    }


def _cache(job: Job) -> str:
    """How K and V are kept."""
    digits = job.formats(load_array(job.array), load_shape(job.model)).digits
    return f"{digits.key_digits} and {digits.value_digits} digits" if digits else f"{job.kv_bits} bits"


def _cells(row: dict) -> list[str]:
    return [
        row["array"],
        row["memory"],
        row["cache"],
        f"{row['weight_bus_bits']}",
        f"{row['vector_lanes']}",
        " + ".join(f"{kib:g}" for kib in row["buffers_kib"]),
        f"{row['area_mm2']:.3g}",
        si(row["prefill_s"], "s"),
        si(row["prefill_j_per_token"], "J"),
        si(row["prefill_w"], "W"),
        f"{row['decode_tokens_per_s']:.4g}",
        si(row["decode_j_per_token"], "J"),
        percent(row["bandwidth_share"]),
    ]
