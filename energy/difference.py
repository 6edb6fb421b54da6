"""The difference of two designs term by term: latency by cause, energy by part, each as count x cost.

A term's value is a count times a cost: cycles times the clock's period, bits times J per bit, seconds times W. Its
difference splits in two, each change taken at the other factor's mean, so that nothing is left over:

  B - A = (count_B - count_A) (cost_A + cost_B) / 2  +  (cost_B - cost_A) (count_A + count_B) / 2

A factor that one side does not have (a count of 0 has no cost) is taken from the other. Terms are of typical costs;
sums have a range from low to high ones, and designs whose ranges cannot be told apart are equal.
"""

from collections.abc import Mapping
from pathlib import Path

from energy.costs.sram import BUFFERS
from energy.costs.tables import Cost, alike, is_close
from energy.designs import Design
from energy.model import energy_of
from hw.artifact import write_artifact
from hw.document import Record
from sim.counts import ActionCounts
from sim.result import PhaseResult

__all__ = ["Changed", "Difference", "PhaseDifference", "Quantity", "Term", "difference_of", "write_difference"]

_SCHEMA, _VERSION = "tritforge.difference", 1

_SECONDS = "s"
_REMARKS = ("description", "source", "efficiency_source")  # fields that change nothing
_COUNTED = {  # part -> what is counted of it; the others are powers, whose count is time
    "array": ("multiply-accumulates", lambda counts: counts.array_macs),
    "wires": ("multiply-accumulates", lambda counts: counts.array_macs),
    "vector": ("operations", lambda counts: counts.vector_work),
    "host": ("operations", lambda counts: counts.host_macs + counts.host_ops),
    "sram": ("bits", lambda counts: _sram_bits(counts)),
    "dram": ("bits", lambda counts: counts.dram_read_bits + counts.dram_write_bits),
    "dram_rows": ("bits", lambda counts: counts.dram_read_bits + counts.dram_write_bits),
}


class Term(Record):
    """One cause or part in both designs."""

    key: str
    counted: str  # what the counts count
    a: float
    b: float
    count_a: float
    count_b: float
    by_count: float  # of b - a: more or fewer actions
    by_cost: float  # of b - a: each action costs more or less; by_count + by_cost = b - a

    @property
    def difference(self) -> float:
        """B less A."""
        return self.b - self.a


class Quantity(Record):
    """A quantity of both designs as the sum of its terms."""

    name: str  # "latency" or "energy"
    per: str  # "phase", "step", "token", or "pass" through a workload
    unit: str
    a: float
    b: float
    terms: list[Term]  # their differences sum to b - a
    range_a: Cost | None = None  # from low to high costs; None: of a time
    range_b: Cost | None = None
    is_equal: bool = False  # the ranges cannot be told apart, or a and b are equal within half a per cent


class PhaseDifference(Record):
    """One phase that both designs run."""

    phase: str
    latency: Quantity  # of prefill as a whole, of decode per step
    energy: Quantity  # per token, typical costs


class Changed(Record):
    """A field of the designs' documents that differs."""

    name: str
    a: str
    b: str


class Difference(Record):
    """Two designs, term by term."""

    a: str
    b: str
    phases: list[PhaseDifference]
    fields: list[Changed]  # of model, sizes, array, memory, execution and costs
    notes: list[str]  # where the designs do not do the same work


def difference_of(a: Design, b: Design) -> Difference:
    """Every phase that both have; B less A."""
    phases = {phase.name: phase for phase in b.result.phases}
    names = (a.name, b.name) if a.name != b.name else (f"{a.name} (A)", f"{b.name} (B)")
    fields = _fields(a, b)
    return Difference(
        a=names[0],
        b=names[1],
        phases=[_phase(a, b, phase, phases[phase.name]) for phase in a.result.phases if phase.name in phases],
        fields=fields,
        notes=_notes(fields),
    )


def write_difference(path: Path, difference: Difference, inputs: dict[str, str]) -> None:
    """Write ``difference.json``."""
    write_artifact(path, _SCHEMA, _VERSION, difference.model_dump(), inputs)


def _phase(a: Design, b: Design, one: PhaseResult, other: PhaseResult) -> PhaseDifference:
    steps = (1, 1) if one.name == "prefill" else (one.steps, other.steps)
    energies = [energy_of(design.result, design.costs).phase(one.name) for design in (a, b)]
    parts = [{part: cost.typical / energy.tokens for part, cost in energy.parts.items()} for energy in energies]
    causes = [
        {cause: cycles / step / design.result.array.clock_hz for cause, cycles in phase.causes.items()}
        for design, phase, step in zip((a, b), (one, other), steps, strict=True)
    ]
    cycles = [
        {cause: cycles / step for cause, cycles in phase.causes.items()}
        for phase, step in zip((one, other), steps, strict=True)
    ]
    counts = [
        {part: _count(part, phase.counts, energy.seconds) / energy.tokens for part in energy.parts}
        for phase, energy in zip((one, other), energies, strict=True)
    ]
    return PhaseDifference(
        phase=one.name,
        latency=_quantity("latency", "phase" if one.name in ("prefill", "pass") else "step", _SECONDS, causes, cycles),
        energy=_ranged(
            _quantity("energy", "pass" if one.name == "pass" else "token", "J", parts, counts),
            [energy.total.scaled(1 / energy.tokens) for energy in energies],
            same_tables=_priced_by(a) == _priced_by(b),
        ),
    )


def _priced_by(design: Design) -> tuple[str, ...]:
    """Tables and kinds of cells that price a design: two designs with equal ones share their costs."""
    result = design.result
    machines = [(result.array, result.memory)]
    if other := result.decode_machine:
        machines.append((other.array, other.memory))
    cells = [str(getattr(array, f"{buffer}_cells")) for array, _ in machines for buffer in BUFFERS]
    return design.costs.sha256(), *(memory.name for _, memory in machines), *cells


def _ranged(quantity: Quantity, ranges: list[Cost], same_tables: bool) -> Quantity:
    """``quantity`` with the ranges of both designs."""
    a, b = ranges
    return quantity.model_copy(update={"range_a": a, "range_b": b, "is_equal": alike(a, b, same_tables)})


def _quantity(
    name: str, per: str, unit: str, values: list[dict[str, float]], counts: list[dict[str, float]]
) -> Quantity:
    keys = [key for key in dict.fromkeys((*values[0], *values[1])) if any(one.get(key) for one in values)]
    terms = [
        _term(key, "cycles" if name == "latency" else _COUNTED.get(key, ("seconds", None))[0], values, counts)
        for key in keys
    ]
    a, b = sum(term.a for term in terms), sum(term.b for term in terms)
    return Quantity(name=name, per=per, unit=unit, a=a, b=b, terms=terms, is_equal=is_close(a, b))


def _term(key: str, counted: str, values: list[dict[str, float]], counts: list[dict[str, float]]) -> Term:
    a, b = (one.get(key, 0.0) for one in values)
    count_a, count_b = (one.get(key, 0.0) for one in counts)
    cost_a, cost_b = (value / count if count else None for value, count in ((a, count_a), (b, count_b)))
    known = [cost for cost in (cost_a, cost_b) if cost is not None]
    mean = sum(known) / len(known) if known else 0.0
    by_count = (count_b - count_a) * mean
    return Term(
        key=key,
        counted=counted,
        a=a,
        b=b,
        count_a=count_a,
        count_b=count_b,
        by_count=by_count,
        by_cost=(b - a) - by_count,
    )


def _count(part: str, counts: ActionCounts, seconds: float) -> float:
    """What a part's energy is counted in; time for powers, and for parts that are not listed."""
    return _COUNTED[part][1](counts) if part in _COUNTED else seconds


def _sram_bits(counts: ActionCounts) -> float:
    return (
        counts.weight_buffer_read_bits
        + counts.weight_buffer_write_bits
        + counts.activation_buffer_read_bits
        + counts.activation_buffer_write_bits
        + counts.accumulator_read_bits
        + counts.accumulator_write_bits
    )


def _fields(a: Design, b: Design) -> list[Changed]:
    """Leaves of the documents of both that are not equal."""
    one, other = (_leaves(_documents(design)) for design in (a, b))
    names = dict.fromkeys((*one, *other))
    return [
        Changed(name=name, a=one.get(name, "none"), b=other.get(name, "none"))
        for name in names
        if one.get(name) != other.get(name) and name.rpartition(".")[2] not in _REMARKS
    ]


def _documents(design: Design) -> dict[str, object]:
    result = design.result
    sizes = {name: getattr(result, name) for name in ("model", "method", "prefill", "decode", "batch")}
    documents = {
        name: getattr(result, name).model_dump(mode="json") for name in ("array", "memory", "cores", "execution")
    }
    return {**sizes, **documents, "costs": design.costs.name}


def _leaves(value: object, name: str = "") -> dict[str, str]:
    if isinstance(value, Mapping):
        return {
            leaf: text
            for key, inner in value.items()
            for leaf, text in _leaves(inner, f"{name}.{key}" if name else str(key)).items()
        }
    return {name: f"{value:g}" if isinstance(value, float) else str(value)}


def _notes(fields: list[Changed]) -> list[str]:
    """Work that is not the same."""
    return [
        f"the designs do not do the same work: {field.name} is {field.a} of A and {field.b} of B"
        for field in fields
        if field.name in ("model", "prefill", "decode", "batch")
    ]
