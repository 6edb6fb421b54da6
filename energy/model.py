"""Energy of a simulated run: action counts times costs, plus leakage power times time; joined here and nowhere else."""

from energy.costs.dram import DRAM_PARTS, chip_count, dram_energy, dram_power, load_dram
from energy.costs.sources import CostSource
from energy.costs.tables import ZERO, Cost, load_host, load_sram
from hw.config import ArrayConfig
from hw.document import Record
from sim.counts import ActionCounts
from sim.result import PhaseResult, SimResult

__all__ = ["COMPUTE", "OFF_CHIP", "PARTS", "EnergyResult", "PhaseEnergy", "energy_of"]

PARTS = ("array", "vector", "host", "sram", *DRAM_PARTS, "leakage")
COMPUTE = ("array", "vector")
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
        """Arithmetic of the array and of the vector unit, J."""
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
    phases = [_phase_energy(result, phase, costs) for phase in result.phases]
    sram = load_sram(costs.sram.table)
    recipes = {
        "array": costs.mac(result.array).recipe,
        "vector": f"MACs, element operations and scale multiplies from {costs.name}",
        "host": f"instructions of a processor, its link; {load_host().operation_pj.source}",
        "sram": f"{sram.cell} {sram.node_nm:g} nm x {costs.sram.factor:g}, banks of {sram.bank_bytes / 1024:g} KiB",
        "dram": _dram_recipe(result),
        "leakage": f"SRAM {sram.name} x {costs.sram.leakage_factor:g}; {costs.leakage_recipe()}",
    }
    return EnergyResult(model=result.model, array=result.array.name, costs=costs.name, phases=phases, recipes=recipes)


def _phase_energy(result: SimResult, phase: PhaseResult, costs: CostSource) -> PhaseEnergy:
    counts, seconds = phase.counts, result.seconds(phase)
    parts = {
        "array": costs.array_energy(result.array, counts) + costs.reduction(result.array).scaled(counts.reductions),
        "vector": _vector_energy(result.array, counts, costs),
        "host": load_host().operation.scaled(counts.host_macs + counts.host_ops)
        + load_host().link_bit.scaled(counts.host_link_bits),
        "sram": _sram_energy(result.array, counts, costs),
        **dram_energy(result.memory, counts, seconds),
        "leakage": _leakage_power(result.array, result.cores.count, costs).scaled(seconds),
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


def _vector_energy(array: ArrayConfig, counts: ActionCounts, costs: CostSource) -> Cost:
    """MACs, element operations and scale multiplies of the vector unit; low-rank corrections as FP16 MACs."""
    return (
        costs.vector_mac(array.arithmetic.vector_mac).scaled(counts.vector_macs)
        + costs.vector_mac("fp16").scaled(counts.vector_float_macs)
        + costs.element().scaled(counts.vector_ops)
        + costs.scale().scaled(counts.scale_multiplies)
    )


def _sram_energy(array: ArrayConfig, counts: ActionCounts, costs: CostSource) -> Cost:
    """Buffers, each built from banks; the low end uses the low-power cell, the high end one undivided array."""
    total = ZERO
    accumulator_bytes = array.accumulator_buffer_bits / 8
    for capacity, write, bits in (
        (array.weight_buffer_bytes, False, counts.weight_buffer_read_bits),
        (array.weight_buffer_bytes, True, counts.weight_buffer_write_bits),
        (array.activation_buffer_bytes, False, counts.activation_buffer_read_bits),
        (array.activation_buffer_bytes, True, counts.activation_buffer_write_bits),
        (accumulator_bytes, False, counts.accumulator_read_bits),
        (accumulator_bytes, True, counts.accumulator_write_bits),
    ):
        table, low_table = load_sram(costs.sram.table), load_sram(costs.sram.low_table)
        banked = min(capacity, table.bank_bytes)
        per_bit = Cost(
            low_table.bit_energy_j(banked, write),
            table.bit_energy_j(banked, write),
            table.bit_energy_j(capacity, write),
        )
        total = total + per_bit.scaled(bits * costs.sram.factor)
    return total


def _leakage_power(array: ArrayConfig, cores: int, costs: CostSource) -> Cost:
    """Leakage in W of the buffers, from the SRAM table, and of the array's logic; accumulators and logic per core."""
    accumulators = 0 if array.structure.outputs_stationary else cores * array.accumulator_buffer_bits / 8  # registers
    capacity = array.weight_buffer_bytes + array.activation_buffer_bytes + accumulators
    table, low_table = load_sram(costs.sram.table), load_sram(costs.sram.low_table)
    sram = Cost(low_table.leakage_w(capacity), table.leakage_w(capacity), table.leakage_w(capacity))
    return sram.scaled(costs.sram.leakage_factor) + costs.logic_leakage_w(array).scaled(cores)
