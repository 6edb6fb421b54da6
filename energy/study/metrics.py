"""What a study measures of each point: times as a user and as the machine see them, energy, power, area, memory.

Every energy, and all that follows from one, has a low and a high figure beside the typical one: ``NAME_low``,
``NAME_high``, the corners of the cost tables. Times and sizes are exact for the simulated machine.
"""

from typing import NamedTuple

from energy.area import area_of
from energy.costs.tables import Cost
from energy.model import energy_of
from energy.study.machine import Catalog, Machine

__all__ = ["FIGURES", "HIGH", "LOW", "METRICS", "Metric", "figures_of"]

LOW, HIGH = "_low", "_high"


class Metric(NamedTuple):
    """One metric; ``ranged``: it has a low and a high figure."""

    unit: str
    about: str
    ranged: bool = False


METRICS = {
    "first_token_s": Metric("s", "time to first token: a user's wait from the request to the first answer token"),
    "user_s_per_token": Metric("s", "time per output token as each user sees it: one decode step of the whole batch"),
    "request_s": Metric("s", "a request from its first prompt token to its last answer token"),
    "prefill_tokens_per_s": Metric("tokens/s", "prompt tokens of the whole batch per second of prefill"),
    "decode_tokens_per_s": Metric("tokens/s", "throughput: answer tokens of the whole batch per second of decode"),
    "prefill_j_per_token": Metric("J", "energy per prompt token", True),
    "decode_j_per_token": Metric("J", "energy per answer token", True),
    "j_per_request": Metric("J", "energy of one request, prefill and decode", True),
    "edp_j_s": Metric("J s", "energy-delay product of one request: j_per_request x request_s", True),
    "power_w": Metric("W", "average power over prefill and decode, DRAM included", True),
    "decode_tokens_per_s_per_w": Metric("tokens/s/W", "throughput per watt of decode, which is tokens per joule", True),
    "area_mm2": Metric("mm2", "cores and buffers placed, without DRAM; none where the costs name no library", True),
    "decode_tokens_per_s_per_mm2": Metric("tokens/s/mm2", "throughput per area", True),
    "memory_bytes": Metric("B", "memory needed: stored weights, embedding, lm_head, and the KV cache at its fullest"),
    "lanes": Metric("lanes", "multiply-accumulates per cycle of all cores"),
    "buffer_bytes": Metric("B", "SRAM of the two buffers, and accumulators of all cores"),
}

# Names of all figures of a row, in the order of columns.
FIGURES = tuple(
    figure
    for name, metric in METRICS.items()
    for figure in ((name, name + LOW, name + HIGH) if metric.ranged else (name,))
)


def figures_of(machine: Machine, catalog: Catalog) -> dict[str, float | None]:
    """Simulate ``machine``; its figures by the names of ``FIGURES``, None where the costs have none.

    Raises:
        InputError: sizes that the model or the machine cannot run, a memory without energy figures.
    """
    result, stored = catalog.simulate(machine)
    job, array = machine.job, machine.array
    energy = energy_of(result, machine.costs)
    prefill, decode = energy.phase("prefill"), energy.phase("decode")
    request_s = prefill.seconds + decode.seconds
    tokens_per_s = decode.tokens / decode.seconds
    request_j = (prefill.total + decode.total).scaled(1 / job.batch)
    area = area_of(array, machine.costs, job.core_group)
    mm2 = area.total if area else None
    found: dict[str, float | Cost | None] = {
        "first_token_s": prefill.seconds,
        "user_s_per_token": decode.seconds / job.decode,
        "request_s": request_s,
        "prefill_tokens_per_s": prefill.tokens / prefill.seconds,
        "decode_tokens_per_s": tokens_per_s,
        "prefill_j_per_token": prefill.total.scaled(1 / prefill.tokens),
        "decode_j_per_token": decode.total.scaled(1 / decode.tokens),
        "j_per_request": request_j,
        "edp_j_s": request_j.scaled(request_s),
        "power_w": request_j.scaled(job.batch / request_s),
        "decode_tokens_per_s_per_w": _over(decode.tokens, decode.total),
        "area_mm2": mm2,
        "decode_tokens_per_s_per_mm2": _over(tokens_per_s, mm2) if mm2 else None,
        "memory_bytes": stored,
        "lanes": result.lanes,
        "buffer_bytes": array.weight_buffer_bytes
        + array.activation_buffer_bytes
        + job.cores * array.accumulator_buffer_bits / 8,
    }
    return dict(pair for name, value in found.items() for pair in _columns(name, value))


def _over(value: float, cost: Cost) -> Cost:
    """``value`` per unit of ``cost``: the high cost gives the low figure."""
    return Cost(value / cost.high, value / cost.typical, value / cost.low)


def _columns(name: str, value: float | Cost | None) -> list[tuple[str, float | None]]:
    if not METRICS[name].ranged:
        return [(name, value)]  # type: ignore[list-item]
    low, typical, high = value if isinstance(value, Cost) else (None, None, None)
    return [(name, typical), (name + LOW, low), (name + HIGH, high)]
