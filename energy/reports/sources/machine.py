"""The same machine under every cost source: measured by ``python -m energy docs``, on docs/machines.md."""

import json
from pathlib import Path

from energy.costs.sources import source_names
from energy.job import Job, Rivals, simulate_machines
from energy.reports.rows import percent, si
from hw.artifact import write_text
from hw.pages import markdown_table
from quant.shapes import load_shape

__all__ = ["measure_sources", "source_range", "sources_table"]

_JOB = Job(model="llama2-7b", kv_bits=8)
_HEADER = (
    *("costs", "clock", "prefill J/token", "power", "decode J/token", "low to high"),
    *("array energy saved in prefill", "compute energy saved", "whole system saved", "decode saved"),
)


def measure_sources(path: Path) -> None:
    """Simulate the default machine and INT8 with every source and write one row each."""
    shape, rows = load_shape(_JOB.model), []
    for name in source_names():
        job = _JOB.model_copy(update={"costs": name})
        summary, _ = simulate_machines(job, shape, rivals=Rivals(rivals="int8", rival_bus="balanced"))
        prefill, decode = (summary.ternary.phase(phase) for phase in ("prefill", "decode"))
        saved = {one.phase: one for one in summary.reductions}
        rows.append(
            {
                "costs": name,
                "clock_hz": summary.clock_hz,
                "prefill_j_per_token": list(prefill.total_j_per_token),
                "prefill_w": prefill.total_j_per_token.typical * prefill.tokens_per_s,
                "decode_j_per_token": list(decode.total_j_per_token),
                "array_saved": saved["prefill"].array_energy,
                "compute_saved": saved["prefill"].compute_energy,
                "system_saved": saved["prefill"].system_energy,
                "decode_saved": saved["decode"].system_energy,
            }
        )
    write_text(path, json.dumps({"job": _JOB.model_dump(mode="json"), "rows": rows}, indent=1) + "\n")


def sources_table(path: Path) -> str:
    """One line per source."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return markdown_table(list(_HEADER), [_cells(row) for row in rows])


def source_range(path: Path) -> str:
    """Gates first, then the range over sources, in one sentence."""
    rows = {row["costs"]: row for row in json.loads(path.read_text(encoding="utf-8"))["rows"]}
    own = rows[_JOB.costs]
    array = [row["array_saved"] for row in rows.values()]
    system = [row["system_saved"] for row in rows.values()]
    return (
        f"By our own gates ({_JOB.costs}) the ternary array takes {percent(own['array_saved'])} less energy than "
        f"INT8's in prefill and the whole system {percent(own['system_saved'])} less, in decode "
        f"{percent(own['decode_saved'])}; over all {len(rows)} cost sources the array saves {percent(min(array))} to "
        f"{percent(max(array))}, the system {percent(min(system))} to {percent(max(system))} of prefill."
    )


def _cells(row: dict) -> list[str]:
    low, typical, high = row["decode_j_per_token"]
    return [
        f"`{row['costs']}`",
        si(row["clock_hz"], "Hz"),
        si(row["prefill_j_per_token"][1], "J"),
        si(row["prefill_w"], "W"),
        si(typical, "J"),
        f"{si(low, 'J')} to {si(high, 'J')}",
        *(percent(row[name]) for name in ("array_saved", "compute_saved", "system_saved", "decode_saved")),
    ]
