"""Energy of a simulated run: action counts times costs, plus leakage power times time; joined here and nowhere else."""

from pydantic import BaseModel, ConfigDict

from energy.arithmetic import mac_cost, vector_mac_cost
from energy.costs import ZERO, Cost, OpTable, load_dram, load_sram
from hw.config import ArrayConfig
from sim.counts import ActionCounts
from sim.result import PhaseResult, SimResult

__all__ = ["PARTS", "EnergyResult", "PhaseEnergy", "energy_of"]

PARTS = ("array", "vector", "sram", "dram", "leakage")
COMPUTE = ("array", "vector")


class PhaseEnergy(BaseModel):
    """Energy of one phase by part, J."""

    model_config = ConfigDict(extra="forbid", frozen=True)

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


class EnergyResult(BaseModel):
    """Energy of a run, with the recipe of every part."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    array: str
    costs: str
    phases: list[PhaseEnergy]
    recipes: dict[str, str]  # part -> how its cost was computed

    def phase(self, name: str) -> PhaseEnergy:
        """The phase called ``name``."""
        return next(phase for phase in self.phases if phase.name == name)


def energy_of(result: SimResult, costs: OpTable) -> EnergyResult:
    """Join a simulation with a cost table.

    Raises:
        InputError: a memory standard without an energy figure.
    """
    phases = [_phase_energy(result, phase, costs) for phase in result.phases]
    sram = load_sram(costs.sram.table)
    dram = load_dram().standards[result.memory.standard]
    recipes = {
        "array": f"{mac_cost(result.array, costs).recipe}, {costs.name}; scaled by operand toggling; no registers",
        "vector": f"MACs, element operations and scale multiplies from {costs.name}",
        "sram": f"{sram.cell} {sram.node_nm:g} nm x {costs.sram.factor:g}, banks of {sram.bank_bytes / 1024:g} KiB",
        "dram": f"{result.memory.standard}: {dram.typical:g} pJ/bit ({dram.low:g} to {dram.high:g}), {dram.source}",
        "leakage": f"SRAM {sram.name}; logic {costs.logic_leakage_share.typical:.0%} of full dynamic power, assumed",
    }
    return EnergyResult(model=result.model, array=result.array.name, costs=costs.name, phases=phases, recipes=recipes)


def _phase_energy(result: SimResult, phase: PhaseResult, costs: OpTable) -> PhaseEnergy:
    counts, seconds = phase.counts, result.seconds(phase)
    parts = {
        "array": mac_cost(result.array, costs).energy.scaled(counts.array_macs_active),
        "vector": _vector_energy(result.array, counts, costs),
        "sram": _sram_energy(result.array, counts, costs),
        "dram": load_dram().bit_energy(result.memory.standard).scaled(counts.dram_read_bits + counts.dram_write_bits),
        "leakage": _leakage_power(result.array, costs).scaled(seconds),
    }
    return PhaseEnergy(name=phase.name, tokens=phase.tokens, seconds=seconds, parts=parts)


def _vector_energy(array: ArrayConfig, counts: ActionCounts, costs: OpTable) -> Cost:
    """MACs, element operations (from an FP16 add to an FP32 multiply, typically an FP16 multiply), scale multiplies."""
    element = Cost(costs.op("fp16_add").low, costs.op("fp16_mul").typical, costs.op("fp32_mul").high)
    scale = Cost(costs.op("fp16_mul").low, costs.op("fp32_mul").typical, costs.op("fp32_mul").high)
    return (
        vector_mac_cost(array.mac, costs).scaled(counts.vector_macs)
        + element.scaled(counts.vector_ops)
        + scale.scaled(counts.scale_multiplies)
    )


def _sram_energy(array: ArrayConfig, counts: ActionCounts, costs: OpTable) -> Cost:
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


def _leakage_power(array: ArrayConfig, costs: OpTable) -> Cost:
    """Leakage in W: buffers from the SRAM table, logic as a share of the array's dynamic power at full use."""
    capacity = array.weight_buffer_bytes + array.activation_buffer_bytes + array.accumulator_buffer_bits / 8
    table, low_table = load_sram(costs.sram.table), load_sram(costs.sram.low_table)
    sram = Cost(low_table.leakage_w(capacity), table.leakage_w(capacity), table.leakage_w(capacity))
    full_power = mac_cost(array, costs).energy.typical * array.lanes * array.clock_hz
    share = costs.logic_leakage_share
    logic = Cost(full_power * share.low, full_power * share.typical, full_power * share.high)
    return sram.scaled(costs.sram.factor) + logic
