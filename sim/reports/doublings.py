"""One thing of a machine doubled at a time and the run simulated again: what each is worth, and which is the bound."""

from collections.abc import Callable
from typing import NamedTuple

from hw.config import ArrayConfig
from hw.errors import InputError
from sim.cores import CoreGroup
from sim.host import Host
from sim.memory import MemoryConfig
from sim.result import PhaseResult, SimResult

__all__ = ["WORTH", "Bound", "Change", "Machine", "Rerun", "bound_of", "doubled", "machine_of", "speedups"]

WORTH = 1.01  # speed-up of a doubling that is a gain
_SMALL = 1.1  # one below which a second thing is looked for that holds the phase at nearly the same speed
_LARGE_SHARE = 0.05  # of the cycles: causes whose remedies are tried in pairs

_REMEDIES = {
    "ideal": ("columns",),
    "weight_stall": ("weight bus", "vector bus"),
    "dram_stall": ("memory channels", "memory latency"),
    "vector": ("vector lanes", "attention lanes"),
    "host": ("host",),
    "port_stall": ("weight port", "activation port", "accumulator port"),
    "output_stall": ("core link",),
}


class Machine(NamedTuple):
    """Everything that a doubling may change."""

    array: ArrayConfig
    memory: MemoryConfig
    cores: CoreGroup
    host: Host


Rerun = Callable[[Machine], SimResult]
Doubling = Callable[[Machine], Machine]


class Change(NamedTuple):
    """One parameter doubled, everything else kept, and the phase simulated again."""

    what: str
    speedup: float


class Bound(NamedTuple):
    """What a phase waits for: the doubling that helps most, or two things that only help together."""

    what: tuple[str, ...]  # of the doublings; none where no doubling and no pair of them helps
    speedup: float  # with all of ``what`` doubled
    level_with: tuple[str, float] | None = None  # doubled too, a single bound's gain would be this


def machine_of(result: SimResult) -> Machine:
    """The machine of a run."""
    return Machine(result.array, result.memory, result.cores, result.execution.host)


def doubled(result: SimResult) -> dict[str, Machine]:
    """The machine of ``result`` with one thing doubled at a time; those that cannot be are left out.

    Latency and the host's times are halved. The host is there where it works, a link where there is one.
    """
    machine, machines = machine_of(result), {}
    for what, change in _DOUBLINGS.items():
        try:
            changed = change(machine)
        except InputError:
            continue
        if changed != machine and (what != "host" or any(op.unit == "host" for op in _ops(result))):
            machines[what] = changed
    return machines


def speedups(phase: PhaseResult, variants: dict[str, SimResult]) -> list[Change]:
    """What each doubling is worth to ``phase``, best first."""
    changes = [Change(what, phase.cycles / variant.phase(phase.name).cycles) for what, variant in variants.items()]
    return sorted(changes, key=lambda change: change.speedup, reverse=True)


def bound_of(result: SimResult, phase: PhaseResult, changes: list[Change], rerun: Rerun) -> Bound:
    """The doubling that helps ``phase`` most; where two rates are nearly equal also the one that hides behind it.

    Pairs are simulated only where the best single doubling gains less than a tenth: of the best with any other, or,
    where none gains, of those that the phase's large causes point at with any other.
    """
    best = changes[0] if changes else Change("", 1.0)
    if best.speedup >= _SMALL:
        return Bound((best.what,), best.speedup)
    firsts = [best.what] if best.speedup >= WORTH else _remedies(phase)
    pairs = {
        (first, other.what): _both(result, (first, other.what), phase, rerun)
        for first in firsts
        for other in changes
        if first in _DOUBLINGS and first != other.what
    }
    pair = max(pairs, key=pairs.__getitem__, default=())
    if best.speedup < WORTH:
        return Bound(pair, pairs[pair]) if pair and pairs[pair] >= WORTH else Bound((), 1.0)
    close = pair and pairs[pair] > _SMALL * best.speedup
    return Bound((best.what,), best.speedup, (pair[1], pairs[pair]) if close else None)


def _remedies(phase: PhaseResult) -> list[str]:
    """Doublings that the causes of much of the phase point at."""
    large = [cause for cause, cycles in phase.causes.items() if cycles >= _LARGE_SHARE * phase.cycles]
    return [what for cause in large for what in _REMEDIES.get(cause, ())]


def _both(result: SimResult, pair: tuple[str, str], phase: PhaseResult, rerun: Rerun) -> float:
    """Speed-up with two things doubled; 1 where no machine can have both."""
    machine = machine_of(result)
    try:
        for what in pair:
            machine = _DOUBLINGS[what](machine)
    except InputError:
        return 1.0
    return phase.cycles / rerun(machine).phase(phase.name).cycles


def _ops(result: SimResult):
    return (op for phase in result.phases for op in phase.ops)


def _array(**factors: int) -> Doubling:
    """A doubling of fields of the array; those that are without a limit stay so."""

    def change(machine: Machine) -> Machine:
        values = {name: factor * (getattr(machine.array, name) or 0) for name, factor in factors.items()}
        changes = {name: value for name, value in values.items() if value}
        return machine._replace(array=_changed(machine.array, changes)) if changes else machine

    return change


def _columns(machine: Machine) -> Machine:
    """Twice the columns, and a weight buffer that holds two of their tiles for every core."""
    array = machine.array
    buffer = max(array.weight_buffer_bytes, 4 * machine.cores.count * array.tile_bytes)
    return machine._replace(array=_changed(array, {"cols": 2 * array.cols, "weight_buffer_bytes": buffer}))


def _channels(machine: Machine) -> Machine:
    memory = machine.memory
    return machine._replace(memory=memory.model_copy(update={"channels": 2 * memory.channels}))


def _latency(machine: Machine) -> Machine:
    memory = machine.memory
    return machine._replace(memory=memory.model_copy(update={"latency_s": memory.latency_s / 2}))


def _link(machine: Machine) -> Machine:
    bits = machine.cores.link_bits
    return machine._replace(cores=machine.cores.model_copy(update={"link_bits": 2 * bits if bits else None}))


def _host(machine: Machine) -> Machine:
    """Twice the rates, half the latency."""
    host = machine.host
    rates = {name: 2 * getattr(host, name) for name in ("macs_per_s", "operations_per_s", "link_bytes_per_s")}
    return machine._replace(host=host.model_copy(update=rates | {"latency_s": host.latency_s / 2}))


_DOUBLINGS: dict[str, Doubling] = {
    "memory channels": _channels,
    "memory latency": _latency,
    "columns": _columns,
    "weight bus": _array(weight_bus_bits=2),
    "vector lanes": _array(vector_lanes=2),
    "attention lanes": _array(attention_lanes=2),
    "vector bus": _array(vector_bus_bits=2),
    "weight port": _array(weight_port_bits=2),
    "activation port": _array(activation_port_bits=2),
    "accumulator port": _array(accumulator_port_bits=2),
    "activation buffer": _array(activation_buffer_bytes=2),
    "weight buffer": _array(weight_buffer_bytes=2),
    "core link": _link,
    "host": _host,
}


def _changed(array: ArrayConfig, changes: dict[str, int]) -> ArrayConfig:
    """``array`` with ``changes``, validated.

    Raises:
        InputError: such an array cannot be.
    """
    try:
        return ArrayConfig(**array.model_dump() | changes)
    except ValueError as error:
        raise InputError(str(error)) from None
