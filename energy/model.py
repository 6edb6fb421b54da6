"""Energy of a simulated run: action counts times costs, plus leakage power times time; joined here and nowhere else."""

from typing import Any, NamedTuple

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

__all__ = ["COMPUTE", "OFF_CHIP", "PARTS", "EnergyResult", "PhaseEnergy", "PricedRun", "energy_of"]

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
    phases = PricedRun(result, costs).phases
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


class PricedRun:
    """A run joined with costs, without recipes: the energy of each phase, and the greatest power of an op.

    Raises:
        InputError: a memory standard without an energy figure.
    """

    def __init__(self, result: SimResult, costs: CostSource) -> None:
        self._costs = costs
        machine = result.on("prefill")
        store = _store_of(machine, costs)
        self._parts = []
        for phase in result.phases:
            if result.decode_machine is not None and phase.name == "decode":
                machine = result.on(phase.name)
                store = _store_of(machine, costs)
            self._parts.append((machine, phase, store))

    @property
    def phases(self) -> list[PhaseEnergy]:
        """Energy of each phase."""
        return [_phase_energy(machine, phase, self._costs, store) for machine, phase, store in self._parts]

    @property
    def peak_power(self) -> Cost:
        """Power in W of the op that takes most while it runs, DRAM included: ops run sequentially, and means differ.

        What is prefetched counts in the op that it is for. Nothing within an op is told apart.
        """
        greatest = [_greatest_power(machine, phase, self._costs, store) for machine, phase, store in self._parts]
        return max(greatest, key=lambda power: power.typical)


def _greatest_power(result: SimResult, phase: PhaseResult, costs: CostSource, store: "_Store") -> Cost:
    """Power of the op of ``phase`` that takes most, W; all ops are joined at once, arrays in the place of counts."""
    ops = [op for op in phase.ops if op.cycles]
    counts = ActionCounts(*np.array([op.counts for op in ops], np.float64).T)  # each (ops,)
    cycles: Any = np.array([op.cycles for op in ops], np.float64)
    elements = [Cost(*np.array([_element_energy(op, result.array, costs) for op in ops]).T)]
    seconds = cycles / result.array.clock_hz
    total = sum(_energies(result, counts, cycles, seconds, elements, costs, store).values(), ZERO)
    power = total.scaled(1 / seconds)
    most = int(np.argmax(power.typical))
    return Cost(*(float(np.asarray(end)[most]) for end in power))


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
    elements = [_element_energy(op, result.array, costs) for op in phase.ops]
    parts = _energies(result, counts, phase.cycles, seconds, elements, costs, store)
    floats = {name: Cost(*map(float, cost)) for name, cost in parts.items()}
    return PhaseEnergy(name=phase.name, tokens=phase.tokens, seconds=seconds, parts=floats)


def _energies(
    result: SimResult,
    counts: ActionCounts,
    cycles: float,
    seconds: float,
    elements: list[Cost],
    costs: CostSource,
    store: _Store,
) -> dict[str, Cost]:
    """Parts of what ``counts`` take in ``cycles``, J; numbers, or arrays of one value per op.

    ``elements``: of element operations on the vector unit.
    """
    array = costs.array_energy(result.array, counts) + costs.reduction(result.array).scaled(counts.reductions)
    vector = sum(elements, _vector_energy(result.array, counts, costs))
    clock, wires = costs.placed(result.array, counts, Work(array, vector, cycles, result.cores.count))
    host = load_host()
    return {
        "array": array,
        "vector": vector,
        "clock": clock,
        "wires": wires,
        "host": host.operation.scaled(counts.host_macs + counts.host_ops) + host.link_bit.scaled(counts.host_link_bits),
        "sram": _sram_energy(store, counts),
        **dram_energy(result.memory, counts, seconds),
        "leakage": store.leakage_w.scaled(seconds),
    }


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


def _vector_energy(array: ArrayConfig, counts: ActionCounts, costs: CostSource) -> Cost:
    """MACs and scale multiplies of the vector unit; low-rank corrections as FP16 MACs."""
    return (
        costs.vector_mac(array.arithmetic.vector_mac).scaled(counts.vector_macs)
        + costs.vector_mac("fp16").scaled(counts.vector_float_macs)
        + costs.scale(array).scaled(counts.scale_multiplies)
    )


def _element_energy(op: OpResult, array: ArrayConfig, costs: CostSource) -> Cost:
    """Element operations of an op on the vector unit."""
    return costs.element(op.name, array).scaled(op.counts.vector_ops) if op.counts.vector_ops else ZERO


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
