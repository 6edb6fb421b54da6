"""What a study measures of each point: times as a user and as the machine see them, energy, power, area, memory.

Every energy, and all that follows from one, has a low and a high figure beside the typical one: ``NAME_low``,
``NAME_high``, the corners of the cost tables. Times and sizes are exact for the simulated machine.
"""

from collections.abc import Iterable
from typing import NamedTuple

from energy.area import area_of_run
from energy.costs.fpga import Elements
from energy.costs.tables import ZERO, Cost
from energy.luts import luts_of
from energy.model import PhaseEnergy, PricedRun
from energy.sizing import Sizing, sized_rival
from energy.study.accuracy import kv_loss_of, perplexity_of
from energy.study.fits import excess, load_part
from energy.study.machine import Catalog, Machine
from energy.study.setting import StudyJob
from hw.arithmetics import Mac
from hw.config import ArrayConfig
from hw.errors import InputError
from sim.result import SimResult

__all__ = [
    "FIGURES", "HIGH", "LOW", "METRICS", "RIVAL", "SAVED", "SAVINGS", "Metric", "figures_of", "metric_of",
    "rival_figures",
]  # fmt: skip

LOW, HIGH = "_low", "_high"
RIVAL, SAVED = "rival", "saved"  # rival.NAME.METRIC: of a rival; saved.NAME.METRIC: 1 - own / rival


class Metric(NamedTuple):
    """One metric; ``ranged``: it has a low and a high figure."""

    unit: str
    about: str
    ranged: bool = False


METRICS = {
    "first_token_s": Metric("s", "time to first token: a user's wait from the request to the first answer token"),
    "user_s_per_token": Metric("s", "time per output token as each user sees it: one decode step of the whole batch"),
    "request_s": Metric(
        "s", "a request from its first prompt token to its last answer token, or a pass through a workload"
    ),
    "prefill_tokens_per_s": Metric("tokens/s", "prompt tokens of the whole batch per second of prefill"),
    "decode_tokens_per_s": Metric("tokens/s", "throughput: answer tokens of the whole batch per second of decode"),
    "prefill_j_per_token": Metric("J", "energy per prompt token", True),
    "decode_j_per_token": Metric("J", "energy per answer token", True),
    "j_per_request": Metric("J", "energy of one request, prefill and decode, or of a pass through a workload", True),
    "edp_j_s": Metric("J s", "energy-delay product of one request: j_per_request x request_s", True),
    "power_w": Metric("W", "average power over prefill and decode, DRAM included", True),
    "decode_tokens_per_s_per_w": Metric("tokens/s/W", "throughput per watt of decode, which is tokens per joule", True),
    "peak_power_w": Metric("W", "power of the op that takes most while it runs, DRAM included", True),
    "area_mm2": Metric("mm2", "cores and buffers placed, without DRAM; none where the costs name no library", True),
    "decode_tokens_per_s_per_mm2": Metric("tokens/s/mm2", "throughput per area", True),
    "memory_bytes": Metric("B", "memory needed: stored weights, embedding, lm_head, and the KV cache at its fullest"),
    "perplexity": Metric("1", "of WikiText-2, int8 activations, as measured of the method on this model"),
    "kv_loss": Metric(
        "%", "rise of WikiText-2's perplexity by this format of K and V, unquantized weights, as measured on this model"
    ),
    "tables": Metric("tables", "look-up tables on the FPGA that fits, fpga or costs name; none without", True),
    "flip_flops": Metric("flip-flops", "on the same", True),
    "dsps": Metric("DSPs", "on the same", True),
    "block_rams": Metric("block RAMs", "on the same", True),
    "lanes": Metric("lanes", "multiply-accumulates per cycle of all cores"),
    "buffer_bytes": Metric("B", "SRAM of the two buffers, and accumulators of all cores"),
}

_ACCURACY = ("perplexity", "kv_loss")  # which a rival has none of

# Of which a rival's figure minus the own one, over the rival's, is a saving.
SAVINGS = (
    "first_token_s", "user_s_per_token", "request_s", "prefill_j_per_token", "decode_j_per_token", "j_per_request",
    "edp_j_s", "power_w", "area_mm2", "memory_bytes",
)  # fmt: skip


def _with_ends(name: str, metric: Metric) -> tuple[str, ...]:
    return (name, name + LOW, name + HIGH) if metric.ranged else (name,)


# Names of all figures of a row, in the order of columns.
FIGURES = tuple(figure for name, metric in METRICS.items() for figure in _with_ends(name, metric))


def rival_figures(rivals: Iterable[Mac]) -> tuple[str, ...]:
    """Names of the figures that ``rivals`` add to a row."""
    return tuple(
        figure
        for mac in rivals
        for prefix, names in ((RIVAL, METRICS), (SAVED, SAVINGS))
        for name in names
        for figure in _with_ends(f"{prefix}.{mac}.{name}", METRICS[name])
    )


def metric_of(name: str) -> Metric:
    """What ``name`` is: a metric, one of a rival, or a saving.

    Raises:
        KeyError: none of these.
    """
    if name.startswith(f"{SAVED}."):
        one = METRICS[name.split(".")[2]]
        return one._replace(unit="1", about=f"share of the rival's {one.about} that is saved")
    return METRICS[name.split(".")[2] if name.startswith(f"{RIVAL}.") else name]


def figures_of(machine: Machine, catalog: Catalog) -> dict[str, float | None]:
    """Simulate ``machine`` and its rivals; figures by name, None where the costs or the method have none.

    Raises:
        InputError: sizes that the model or the machine cannot run, a memory without energy figures, a machine that is
            larger than the part that must hold it, a rival that what is held has no room for.
    """
    job, array = machine.job, machine.array
    if job.fits is not None and (why := excess(array, load_part(job.fits), job.core_group)):
        raise InputError(why)
    result, stored = catalog.simulate(machine)
    own = _figures(machine, result, stored)
    own |= _accuracy(machine)
    rows = dict(pair for name, value in own.items() for pair in _columns(name, value))
    for mac in job.rivals:
        rows |= _rival(machine, catalog, result, mac, own)
    return rows


def _rival(
    machine: Machine, catalog: Catalog, own: SimResult, mac: Mac, figures: dict[str, float | Cost | None]
) -> dict[str, float | None]:
    """Figures of the rival ``mac`` of the size that what is held allows, and what ``machine`` saves beside it."""
    job = machine.job

    def run(array: ArrayConfig) -> SimResult:
        return catalog.simulate(_as_rival(machine, array))[0]

    sizing = Sizing(job.hold, own, machine.costs, job.core_group, run)
    array = job.core_group.fed(machine.array.baseline(mac, job.rival_bus))
    rival = _as_rival(machine, sized_rival(array, sizing, job.rival_bus == "balanced"))
    found = _figures(rival, *catalog.simulate(rival)) | dict.fromkeys(_ACCURACY)
    rows = [pair for name in METRICS for pair in _columns(f"{RIVAL}.{mac}.{name}", found[name])]
    rows += [pair for name in SAVINGS for pair in _columns(f"{SAVED}.{mac}.{name}", _saved(figures[name], found[name]))]
    return dict(rows)


def _accuracy(machine: Machine) -> dict[str, float | None]:
    """What was measured of the model, or of the one that stands for it; of a workload nothing."""
    job = machine.job
    if job.workload:
        return dict.fromkeys(_ACCURACY)
    model = job.accuracy_of or job.model
    loss = kv_loss_of(model, job.formats(machine.array, machine.shape).digits, job.kv_bits)
    return {
        "perplexity": perplexity_of(job.method, model) if job.method else None,
        "kv_loss": None if loss is None else 100 * loss,
    }


def _as_rival(machine: Machine, array: ArrayConfig) -> Machine:
    return machine._replace(job=machine.job.as_rival(), array=array)


def _saved(own: float | Cost | None, rival: float | Cost | None) -> float | Cost | None:
    """1 - own / rival; of ranges at equal ends, since the same tables price both."""
    if own is None or rival is None:
        return None
    if isinstance(own, Cost) and isinstance(rival, Cost):
        low, typical, high = (1 - a / b for a, b in zip(own, rival, strict=True))
        return Cost(min(low, typical, high), typical, max(low, typical, high))
    return 1 - own / rival  # type: ignore[operator]


def _figures(machine: Machine, result: SimResult, stored: int) -> dict[str, float | Cost | None]:
    """Metrics of a run, all but its accuracy."""
    job, array = machine.job, machine.array
    priced = PricedRun(result, machine.costs)
    phases = priced.phases
    request_s = sum(phase.seconds for phase in phases)
    request_j = sum((phase.total for phase in phases), ZERO).scaled(1 / job.batch)
    machines = [(array, job.core_group)]
    if result.decode_machine:
        machines.append((result.decode_machine.array, result.decode_machine.cores))
    area = area_of_run(result, machine.costs)
    mm2 = area.total if area else None
    return {
        **dict.fromkeys(METRICS),
        **({} if job.workload else _of_tokens(job, phases, mm2)),
        "request_s": request_s,
        "j_per_request": request_j,
        "edp_j_s": request_j.scaled(request_s),
        "power_w": request_j.scaled(job.batch / request_s),
        "peak_power_w": priced.peak_power,
        "area_mm2": mm2,
        "memory_bytes": stored,
        **_elements(machine),
        "lanes": sum(one.lanes * cores.count for one, cores in machines),
        "buffer_bytes": sum(
            one.weight_buffer_bytes + one.activation_buffer_bytes + cores.count * one.accumulator_buffer_bits / 8
            for one, cores in machines
        ),
    }


def _of_tokens(job: StudyJob, phases: list[PhaseEnergy], mm2: Cost | None) -> dict[str, float | Cost | None]:
    """Metrics of prefill and decode, which a pass through a workload does not have."""
    prefill, decode = (next(phase for phase in phases if phase.name == name) for name in ("prefill", "decode"))
    decode_j = decode.total
    tokens_per_s = decode.tokens / decode.seconds
    return {
        "first_token_s": prefill.seconds,
        "user_s_per_token": decode.seconds / job.decode,
        "prefill_tokens_per_s": prefill.tokens / prefill.seconds,
        "decode_tokens_per_s": tokens_per_s,
        "prefill_j_per_token": prefill.total.scaled(1 / prefill.tokens),
        "decode_j_per_token": decode_j.scaled(1 / decode.tokens),
        "decode_tokens_per_s_per_w": _over(decode.tokens, decode_j),
        "decode_tokens_per_s_per_mm2": _over(tokens_per_s, mm2) if mm2 else None,
    }


def _elements(machine: Machine) -> dict[str, Cost | None]:
    """What the machine takes of the family of FPGAs that the job names."""
    job = machine.job
    family = load_part(job.fits).family if job.fits else job.counted_fpga
    if family is None:
        return dict.fromkeys(Elements._fields)
    area = luts_of(machine.array, family, job.core_group)
    return {what: area.total(what) for what in Elements._fields}


def _over(value: float, cost: Cost) -> Cost:
    """``value`` per unit of ``cost``: the high cost gives the low figure."""
    return Cost(value / cost.high, value / cost.typical, value / cost.low)


def _columns(name: str, value: float | Cost | None) -> list[tuple[str, float | None]]:
    if not metric_of(name).ranged:
        return [(name, value)]  # type: ignore[list-item]
    low, typical, high = value if isinstance(value, Cost) else (None, None, None)
    return [(name, typical), (name + LOW, low), (name + HIGH, high)]
