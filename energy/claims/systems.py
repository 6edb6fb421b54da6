"""Whole machines: time and energy per token saved, by model, context, batch, rival and what is held equal."""

from collections.abc import Iterator
from typing import NamedTuple, get_args

from energy.job import Job, Rivals, simulate_machines
from energy.sizing import Hold
from hw.document import Record
from hw.errors import InputError
from hw.progress import CountReport
from quant.shapes import load_shape

__all__ = ["POINTS", "RIVALS", "Point", "SystemRow", "system_rows"]

RIVALS = ("int8", "w4a8", "w2a8", "fp16", "w4a16")
_DECODE = 128  # tokens written behind every prompt
_KV_BITS = 8  # of the rivals' caches; ternary arrays keep K and V as digits


class Point(NamedTuple):
    """A model at a context (prompt tokens per sequence) and a batch of sequences."""

    model: str
    context: int
    batch: int


POINTS = (
    *(Point("llama2-7b", 512, batch) for batch in (1, 8, 32)),
    Point("llama2-7b", 2048, 1),
    Point("llama2-13b", 512, 1),
    Point("llama2-13b", 2048, 1),
    Point("llama2-70b", 512, 1),
    Point("llama2-70b", 2048, 1),
    *(Point("llama3-8b", 512, batch) for batch in (1, 32)),
    Point("llama3-8b", 8000, 1),  # with 128 tokens behind them all of its 8,192 positions but a few
    Point("llama3.2-3b", 32768, 1),  # a context that none of the others has positions for
)


class SystemRow(Record):
    """Ternary against one rival at one point and one hold; shares saved by phase, or why there are none."""

    model: str
    context: int
    batch: int
    hold: str
    rival: str
    size: str = ""  # rows x columns of the rival
    latency: dict[str, float] = {}
    compute_energy: dict[str, float] = {}  # array and vector unit, attention and lm_head included
    system_energy: dict[str, float] = {}  # with SRAM, DRAM and leakage
    reason: str = ""


def system_rows(points: tuple[Point, ...], report: CountReport) -> Iterator[SystemRow]:
    """A row per point, hold and rival on the default machine with the default costs."""
    wanted = [(point, hold, rival) for point in points for hold in get_args(Hold) for rival in RIVALS]
    for number, (point, hold, rival) in enumerate(wanted):
        report(number, len(wanted))
        yield _row(point, hold, rival)
    report(len(wanted), len(wanted))


def _job(point: Point) -> Job:
    return Job(model=point.model, prefill=point.context, decode=_DECODE, batch=point.batch, kv_bits=_KV_BITS)


def _row(point: Point, hold: Hold, rival: str) -> SystemRow:
    place = {**point._asdict(), "hold": hold, "rival": rival}
    rivals = Rivals(rivals=rival, rival_bus="balanced", hold=hold)
    try:
        summary, _ = simulate_machines(_job(point), load_shape(point.model), None, rivals)
    except InputError as error:
        return SystemRow(**place, reason=str(error))
    saved = {one.phase: one for one in summary.reductions}
    return SystemRow(
        **place,
        size=summary.machines[1].size,
        latency={name: one.latency for name, one in saved.items()},
        compute_energy={name: one.compute_energy for name, one in saved.items()},
        system_energy={name: one.system_energy for name, one in saved.items()},
    )
