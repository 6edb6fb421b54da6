"""Energy of a simulated run: action counts times costs, plus leakage power times time; joined here and nowhere else."""

from typing import NamedTuple

import numpy as np

from energy.costs.dram import DRAM_PARTS, chip_count, dram_energy, dram_power, load_dram
from energy.costs.gates import Work
from energy.costs.sources import CostSource
from energy.costs.sram import Buffer, buffers_of
from energy.costs.tables import ZERO, Cost, load_host
from hw.config import ArrayConfig
from hw.document import Record
from sim.counts import ActionCounts
from sim.result import OpResult, PhaseResult, SimResult

__all__ = ["COMPUTE", "OFF_CHIP", "PARTS", "EnergyResult", "PhaseEnergy", "energy_of", "peak_power"]

PARTS = ("array", "vector", "clock", "wires", "host", "sram", *DRAM_PARTS, "leakage")
COMPUTE = ("array", "vector", "clock", "wires")
OFF_CHIP = (*DRAM_PARTS, "host")


class PhaseEnergy(Record):
    """Energy of one phase by part, J."""

    name: str
    tokens: int
    seconds: float
    parts: dict[str, Cost]  # keys of PARTS

    @property
    def total(self) -> Cost:
        """All parts, J."""
        return sum(self.parts.values(), ZERO)

    @property
    def compute(self) -> Cost:
        """Array and vector unit with their clock and wires, J."""
        return sum((self.parts[name] for name in COMPUTE), ZERO)

    @property
    def joules_per_token(self) -> float:
        """Typical energy per token of this phase."""
        return self.total.typical / self.tokens


class EnergyResult(Record):
    """Energy of a run, with the recipe of every part."""

    model: str
    array: str
    costs: str
    phases: list[PhaseEnergy]
    recipes: dict[str, str]  # part -> how its cost was computed

    def phase(self, name: str) -> PhaseEnergy:
        """The phase called ``name``."""
        return next(phase for phase in self.phases if phase.name == name)


def energy_of(result: SimResult, costs: CostSource) -> EnergyResult:
    """Join a simulation with a cost source.

    Raises:
        InputError: a memory standard without an energy figure.
    """
    phases = []
    for phase in result.phases:
        machine = result.on(phase.name)
        phases.append(_phase_energy(machine, phase, costs, _store_of(machine, costs)))
    buffers = _buffers(result, costs)
    recipes = {
        "array": costs.mac(result.array).recipe,
        "vector": costs.vector_recipe(result.array),
        "clock": costs.placed_recipe(result.array),
        "wires": costs.placed_recipe(result.array),
        "host": f"instructions of a processor, its link; {load_host().operation_pj.source}",
        "sram": _sram_recipe(buffers),
        "dram": _dram_recipe(result),
        "leakage": f"SRAM as above x {costs.sram.leakage_factor:g}; {costs.leakage_recipe()}",
    }
    return EnergyResult(model=result.model, array=result.array.name, costs=costs.name, phases=phases, recipes=recipes)


def peak_power(result: SimResult, costs: CostSource) -> Cost:
    """Power in W of the op that takes most while it runs, DRAM included: ops run sequentially, and their means differ.

    What is prefetched counts in the op that it is for. Nothing within an op is told apart.
    """
    powers = []
    for phase in result.phases:
        machine = result.on(phase.name)
        store = _store_of(machine, costs)
        for op in _busiest(phase):
            alone = _phase_energy(machine, phase.model_copy(update={"ops": [op]}), costs, store)
            powers.append(alone.total.scaled(1 / alone.seconds))
    return max(powers, key=lambda power: power.typical)


def _busiest(phase: PhaseResult) -> list[OpResult]:
    """Ops but those that do no action more often per cycle than another op: every action costs something."""
    ops = [op for op in phase.ops if op.cycles]
    rates = np.array([op.counts for op in ops]) / np.array([[op.cycles] for op in ops])
    kinds = np.array([op.name for op in ops])
    elements = ActionCounts._fields.index("vector_ops")  # whose cost is one of its kind of op
    comparable = (rates[:, None, elements] == 0) | (kinds[:, None] == kinds[None, :])
    most = (rates[:, None] <= rates[None, :]).all(axis=2) & comparable  # of an op and of one that does as much
    same = most & most.T
    beaten = (most & ~same).any(axis=1) | np.tril(same, -1).any(axis=1)  # of equal ones the first is kept
    return [op for op, out in zip(ops, beaten, strict=True) if not out]


class _Store(NamedTuple):
    """What a machine's buffers cost, whatever it runs."""

    bits: tuple[Cost, ...]  # J per bit read and written, of each buffer
    leakage_w: Cost  # with the logic's


def _store_of(result: SimResult, costs: CostSource) -> _Store:
    buffers = _buffers(result, costs)
    bits = tuple(buffer.bit_energy(write) for buffer in buffers for write in (False, True))
    return _Store(bits, _leakage_power(buffers, result, costs))


def _phase_energy(result: SimResult, phase: PhaseResult, costs: CostSource, store: _Store) -> PhaseEnergy:
    counts, seconds = phase.counts, result.seconds(phase)
    array = costs.array_energy(result.array, counts) + costs.reduction(result.array).scaled(counts.reductions)
    vector = _vector_energy(result.array, phase, costs)
    clock, wires = costs.placed(result.array, counts, Work(array, vector, phase.cycles, result.cores.count))
    parts = {
        "array": array,
        "vector": vector,
        "clock": clock,
        "wires": wires,
        "host": load_host().operation.scaled(counts.host_macs + counts.host_ops)
        + load_host().link_bit.scaled(counts.host_link_bits),
        "sram": _sram_energy(store, counts),
        **dram_energy(result.memory, counts, seconds),
        "leakage": store.leakage_w.scaled(seconds),
    }
    return PhaseEnergy(name=phase.name, tokens=phase.tokens, seconds=seconds, parts=parts)


def _dram_recipe(result: SimResult) -> str:
    """Bits, rows and standby apart, with the source of the currents."""
    standard = result.memory.standard
    power, chips = dram_power(standard), chip_count(result.memory)
    bit, idle = power.read_bit, power.idle_w.scaled(chips)
    return (
        f"{standard}: {bit.typical * 1e12:.2g} pJ per bit read ({bit.low * 1e12:.2g} to {bit.high * 1e12:.2g}), "
        f"{chips} chips, {idle.typical * 1e3:.0f} mW at rest ({idle.low * 1e3:.0f} to {idle.high * 1e3:.0f}), rows and "
        f"refresh apart; {load_dram().standard(standard).source}"
    )


def _vector_energy(array: ArrayConfig, phase: PhaseResult, costs: CostSource) -> Cost:
    """MACs, element operations and scale multiplies of the vector unit; low-rank corrections as FP16 MACs."""
    counts = phase.counts
    elements = (costs.element(op.name, array).scaled(op.counts.vector_ops) for op in phase.ops if op.counts.vector_ops)
    return sum(
        elements,
        costs.vector_mac(array.arithmetic.vector_mac).scaled(counts.vector_macs)
        + costs.vector_mac("fp16").scaled(counts.vector_float_macs)
        + costs.scale(array).scaled(counts.scale_multiplies),
    )


def _buffers(result: SimResult, costs: CostSource) -> list[Buffer]:
    return buffers_of(result.array, costs.sram, costs.name, result.cores.count)


def _sram_recipe(buffers: list[Buffer]) -> str:
    """Cell type of each buffer that is there."""
    table, choice = buffers[0].table, buffers[0].choice
    cells = ", ".join(f"{buffer.name} {buffer.cell}" for buffer in buffers if buffer.capacity_bytes)
    model = table.source.split(",")[0]
    banks = f"banks of {table.bank_bytes / 1024:g} KiB"
    return f"{cells} cells, {model}, {table.node_nm:g} nm x {choice.factor:g}, {banks}"


def _sram_energy(store: _Store, counts: ActionCounts) -> Cost:
    """Accesses of every buffer."""
    moved = (
        counts.weight_buffer_read_bits,
        counts.weight_buffer_write_bits,
        counts.activation_buffer_read_bits,
        counts.activation_buffer_write_bits,
        counts.accumulator_read_bits,
        counts.accumulator_write_bits,
    )
    return sum((bit.scaled(bits) for bit, bits in zip(store.bits, moved, strict=True)), ZERO)


def _leakage_power(buffers: list[Buffer], result: SimResult, costs: CostSource) -> Cost:
    """Leakage in W of the buffers and of the array's logic; accumulators and logic per core."""
    sram = sum((buffer.leakage_w for buffer in buffers), ZERO)
    return sram + costs.logic_leakage_w(result.array, result.cores.count)
