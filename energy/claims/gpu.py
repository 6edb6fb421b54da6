"""A measured GPU beside simulated machines: prefill and decode of LLaMA-2-7B, tokens/s, J per token, W."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

from energy.costs.tables import Kind
from energy.job import Job, Rivals, simulate_machines
from hw.document import Record, load_document
from quant.shapes import load_shape

__all__ = ["GpuRow", "gpu_rows"]

_FILE = Path(__file__).with_name("h100.yaml")
_ARRAY, _MEMORY = "server-128x128", "hbm3-6400"  # the machine of the family that stands beside HBM
_DECODE, _KV_BITS = 128, 16  # the GPU's cache is FP16

Phase = Literal["prefill", "decode"]


class GpuRow(Record):
    """One machine in one phase; ``watts`` with memory, without host."""

    machine: str
    kind: str
    phase: Phase
    context: int
    batch: int
    tokens_per_s: float
    watts: float

    @property
    def j_per_token(self) -> float:
        """Energy per token, J."""
        return self.watts / self.tokens_per_s


class _Measured(Record):
    phase: Phase
    context: int
    batch: int
    tokens_per_s: float
    watts: float


class _Measurements(Record):
    file_schema: ClassVar[str | None] = "tritforge.gpu-measurements.1"

    gpu: str
    model: str
    kind: Kind
    source: str
    rows: tuple[_Measured, ...]


def gpu_rows() -> Iterator[GpuRow]:
    """Each measurement, then the ternary and the FP16 machine at the same context and batch."""
    measured = load_document(_FILE, _Measurements)
    points = dict.fromkeys((row.context, row.batch) for row in measured.rows)
    simulated = [row for context, batch in points for row in _simulated(measured.model, context, batch)]
    for row in measured.rows:
        yield GpuRow(machine=f"{measured.gpu}, FP16", kind=measured.kind, **row.model_dump())
        place = row.phase, row.context, row.batch
        yield from (one for one in simulated if (one.phase, one.context, one.batch) == place)


def _simulated(model: str, context: int, batch: int) -> Iterator[GpuRow]:
    job = Job(model=model, array=_ARRAY, memory=_MEMORY, prefill=context, decode=_DECODE, batch=batch, kv_bits=_KV_BITS)
    summary, _ = simulate_machines(job, load_shape(model), None, Rivals(rivals="fp16", rival_bus="balanced"))
    for machine in summary.machines:
        for phase in machine.phases:
            yield GpuRow(
                machine=f"{_ARRAY}, {machine.mac}",
                kind="simulated",
                phase=phase.name,
                context=context,
                batch=batch,
                tokens_per_s=phase.tokens_per_s,
                watts=phase.total_j_per_token.typical * phase.tokens_per_s,
            )
