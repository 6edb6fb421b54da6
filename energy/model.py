"""Energy of a simulated run: action counts times costs, plus leakage power times time; joined here and nowhere else."""

from energy.costs.dram import DRAM_PARTS, chip_count, dram_energy, dram_power, load_dram
from energy.costs.gates import Work
from energy.costs.sources import CostSource
from energy.costs.sram import Buffer, buffers_of
from energy.costs.tables import ZERO, Cost, load_host
from hw.config import ArrayConfig
from hw.document import Record
from sim.counts import ActionCounts
from sim.result import PhaseResult, SimResult

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
    phases = [_phase_energy(result.on(phase.name), phase, costs) for phase in result.phases]
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
        for op in phase.ops:
            if op.cycles:
                alone = _phase_energy(result.on(phase.name), phase.model_copy(update={"ops": [op]}), costs)
                powers.append(alone.total.scaled(1 / alone.seconds))
    return max(powers, key=lambda power: power.typical)


def _phase_energy(result: SimResult, phase: PhaseResult, costs: CostSource) -> PhaseEnergy:
    counts, seconds = phase.counts, result.seconds(phase)
    buffers = _buffers(result, costs)
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
        "sram": _sram_energy(buffers, counts),
        **dram_energy(result.memory, counts, seconds),
        "leakage": _leakage_power(buffers, result, costs).scaled(seconds),
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


def _sram_energy(buffers: list[Buffer], counts: ActionCounts) -> Cost:
    """Accesses of every buffer."""
    weight, activation, accumulator = buffers
    return sum(
        (
            weight.bit_energy(False).scaled(counts.weight_buffer_read_bits),
            weight.bit_energy(True).scaled(counts.weight_buffer_write_bits),
            activation.bit_energy(False).scaled(counts.activation_buffer_read_bits),
            activation.bit_energy(True).scaled(counts.activation_buffer_write_bits),
            accumulator.bit_energy(False).scaled(counts.accumulator_read_bits),
            accumulator.bit_energy(True).scaled(counts.accumulator_write_bits),
        ),
        ZERO,
    )


def _leakage_power(buffers: list[Buffer], result: SimResult, costs: CostSource) -> Cost:
    """Leakage in W of the buffers and of the array's logic; accumulators and logic per core."""
    sram = sum((buffer.leakage_w for buffer in buffers), ZERO)
    return sram + costs.logic_leakage_w(result.array, result.cores.count)
