"""All rivals under everything that can be held equal: measured by ``python -m energy docs``, on docs/machines.md."""

import json
from pathlib import Path
from typing import get_args

from energy.job import Job, Rivals, simulate_machines
from energy.model import OFF_CHIP
from energy.reports.rows import percent, si
from energy.sizing import Hold
from energy.summary import JobSummary, MachineSummary
from hw.artifact import write_text
from hw.pages import markdown_table
from quant.shapes import load_shape

__all__ = ["holds_table", "measure_holds"]

_JOB = Job(model="llama2-7b", kv_bits=8)
_RIVALS = "int8,w4a8,w2a8,fp16,w4a16"
_HEADER = (
    *("held equal", "machine", "rows x columns", "area, mm2", "prefill", "power on chip", "J/token"),
    *("decode tokens/s", "J/token", "saved in prefill", "saved in decode"),
)


def measure_holds(path: Path) -> None:
    """Simulate every hold and write one row per machine."""
    shape = load_shape(_JOB.model)
    rows = []
    for hold in get_args(Hold):
        rivals = Rivals(rivals=_RIVALS, rival_bus="balanced", hold=hold)
        summary, _ = simulate_machines(_JOB, shape, None, rivals)
        machines = summary.machines if not rows else summary.machines[1:]
        rows += [_row(summary, machine, hold) for machine in machines]
    write_text(path, json.dumps({"job": _JOB.model_dump(mode="json"), "rows": rows}, indent=1) + "\n")


def holds_table(path: Path) -> str:
    """The rows as a table; the ternary machine, which everything is held equal to, comes first."""
    rows = json.loads(path.read_text(encoding="utf-8"))["rows"]
    return markdown_table(list(_HEADER), [_cells(row) for row in rows])


def _row(summary: JobSummary, machine: MachineSummary, hold: Hold) -> dict:
    prefill, decode = machine.phase("prefill"), machine.phase("decode")
    chip_j = sum(cost.typical for part, cost in prefill.joules_per_token.items() if part not in OFF_CHIP)
    ternary = machine is summary.ternary
    saved = {item.phase: item.system_energy for item in summary.reductions if item.baseline == machine.name}
    return {
        "hold": "" if ternary else hold,
        "mac": machine.mac,
        "size": machine.size,
        "area_mm2": machine.area.total.typical if machine.area else None,
        "prefill_s": prefill.seconds,
        "prefill_chip_w": chip_j * prefill.tokens_per_s,
        "prefill_j_per_token": prefill.total_j_per_token.typical,
        "decode_tokens_per_s": decode.tokens_per_s,
        "decode_j_per_token": decode.total_j_per_token.typical,
        "saved": saved,
    }


def _cells(row: dict) -> list[str]:
    saved = [percent(row["saved"][phase]) if row["saved"] else "" for phase in ("prefill", "decode")]
    return [
        row["hold"],
        row["mac"],
        row["size"],
        f"{row['area_mm2']:.3g}",
        si(row["prefill_s"], "s"),
        si(row["prefill_chip_w"], "W"),
        si(row["prefill_j_per_token"], "J"),
        f"{row['decode_tokens_per_s']:.4g}",
        si(row["decode_j_per_token"], "J"),
        *saved,
    ]
