"""Where costs come from: a published operator table, or our own gate-level figures; one interface for the join."""

from functools import cached_property
from typing import Protocol

from energy.costs.fpga import FPGA_PREFIX, fpga_names, load_fpga
from energy.costs.gates import GATES_PREFIX, GateSource, Work, gate_names, load_gates
from energy.costs.operators import MacCost, mac_cost, vector_mac_cost
from energy.costs.sram import sram_notes
from energy.costs.tables import ZERO, Cost, OpTable, SramChoice, cost_names, load_costs
from hw.arithmetics import VectorMac
from hw.artifact import sha256_json
from hw.config import ArrayConfig
from hw.errors import InputError, did_you_mean
from sim.counts import ActionCounts

__all__ = ["CostSource", "OperatorSource", "load_source", "source_names"]


class CostSource(Protocol):
    """Costs of everything but DRAM, J per action unless the name says otherwise."""

    name: str
    source: str
    sram: SramChoice

    def mac(self, array: ArrayConfig) -> MacCost:
        """One multiply-accumulate of the array."""
        ...

    def array_energy(self, array: ArrayConfig, counts: ActionCounts) -> Cost:
        """All multiply-accumulates of ``counts`` on the array, with the switching activity that they had."""
        ...

    def clock_share(self, array: ArrayConfig) -> float | None:
        """Share of a multiply-accumulate's energy that its registers' clocks take; None where the source has none."""
        ...

    def vector_mac(self, mac: VectorMac) -> Cost:
        """One multiply-accumulate of the vector unit."""
        ...

    def reduction(self, array: ArrayConfig) -> Cost:
        """One addition of the partial sums of two cores."""
        ...

    def element(self, op: str, array: ArrayConfig) -> Cost:
        """One element operation of the op called ``op`` on the vector unit of ``array``."""
        ...

    def scale(self, array: ArrayConfig) -> Cost:
        """One scale multiply."""
        ...

    def vector_recipe(self, array: ArrayConfig) -> str:
        """What the vector unit's costs are made of."""
        ...

    def placed(self, array: ArrayConfig, counts: ActionCounts, work: Work) -> tuple[Cost, Cost]:
        """What placed blocks take beyond netlists: clock distribution, wires."""
        ...

    def placed_recipe(self, array: ArrayConfig) -> str:
        """How these were found."""
        ...

    def logic_leakage_w(self, array: ArrayConfig, cores: int = 1) -> Cost:
        """Leakage power of the logic of ``cores``, W."""
        ...

    def area_basis(self) -> tuple[GateSource, float] | None:
        """The cell library whose areas go with these costs, and a factor on them; None: there is none."""
        ...

    def leakage_recipe(self) -> str:
        """How the leakage was found."""
        ...

    def clocked(self, array: ArrayConfig) -> ArrayConfig:
        """``array`` at a clock that these costs allow."""
        ...

    def notes(self, array: ArrayConfig, cores: int) -> list[str]:
        """What a reader must know of ``array`` with these costs."""
        ...

    def sha256(self) -> str:
        """Hash of every figure."""
        ...


class OperatorSource:
    """Costs built from the operators of one table."""

    def __init__(self, table: OpTable) -> None:
        self.table = table
        self.name = table.name
        self.source = table.source
        self.sram = table.sram
        self._macs: dict[tuple, MacCost] = {}  # found before, by all that they depend on

    def _lane(self, array: ArrayConfig) -> MacCost:
        key = array.mac, array.rows, array.organisation, array.accumulator_bits
        if key not in self._macs:
            self._macs[key] = mac_cost(array, self.table)
        return self._macs[key]

    def mac(self, array: ArrayConfig) -> MacCost:
        """A lane's product or selection, its tree adder and its share of the accumulator; random dense operands."""
        energy, recipe = self._lane(array)
        return MacCost(energy, f"{recipe}, {self.name}; scaled by operand toggling; no registers")

    def array_energy(self, array: ArrayConfig, counts: ActionCounts) -> Cost:
        """The table's figures are for random operands, so only the active ones count; open adders of digit planes."""
        products = self.mac(array).energy.scaled(counts.array_macs_active)
        if not array.digits:
            return products
        return products + self.table.integer_add(max(array.digit_adder_bits)).scaled(counts.digit_additions)

    def clock_share(self, array: ArrayConfig) -> float | None:
        """Operators have no registers."""
        return None

    def vector_mac(self, mac: VectorMac) -> Cost:
        """Int8 with a 32-bit sum, or FP16 with an FP32 sum."""
        return vector_mac_cost(mac, self.table)

    def reduction(self, array: ArrayConfig) -> Cost:
        """An adder as wide as the accumulator, or an FP32 add."""
        if array.arithmetic.is_float:
            return self.table.op("fp32_add")
        return self.table.integer_add(array.accumulator_bits)

    def element(self, op: str, array: ArrayConfig) -> Cost:
        """From an FP16 add to an FP32 multiply, typically an FP16 multiply."""
        cost = self.table.op
        return Cost(cost("fp16_add").low, cost("fp16_mul").typical, cost("fp32_mul").high)

    def scale(self, array: ArrayConfig) -> Cost:
        """From an FP16 to an FP32 multiply."""
        op = self.table.op
        return Cost(op("fp16_mul").low, op("fp32_mul").typical, op("fp32_mul").high)

    def vector_recipe(self, array: ArrayConfig) -> str:
        """Operators for what they stand for."""
        return f"MACs, element operations and scale multiplies from {self.name}"

    def placed(self, array: ArrayConfig, counts: ActionCounts, work: Work) -> tuple[Cost, Cost]:
        """Operators have neither registers nor a place."""
        return ZERO, ZERO

    def placed_recipe(self, array: ArrayConfig) -> str:
        """What is not there."""
        return "none: operator tables have neither registers, clock nor wires"

    def logic_leakage_w(self, array: ArrayConfig, cores: int = 1) -> Cost:
        """A share of the array's dynamic power at full use."""
        full_power_w = self._lane(array).energy.typical * array.lanes * array.clock_hz
        share = self.table.logic_leakage_share
        return share.ends.scaled(full_power_w * cores)

    def area_basis(self) -> tuple[GateSource, float] | None:
        """The library that the table names, scaled to its node."""
        return self._area_basis

    @cached_property
    def _area_basis(self) -> tuple[GateSource, float] | None:
        """Read once, since a study asks at every point."""
        area = self.table.area
        return None if area is None else (load_gates(area.library), area.factor)

    def leakage_recipe(self) -> str:
        """An assumption, as operator tables carry no leakage."""
        return f"logic {self.table.logic_leakage_share.typical:.0%} of full dynamic power, assumed"

    def clocked(self, array: ArrayConfig) -> ArrayConfig:
        """Operators do not say how fast they are."""
        return array

    def notes(self, array: ArrayConfig, cores: int) -> list[str]:
        """Buffers that no cell type makes fast enough."""
        return sram_notes(array, self.sram)

    def sha256(self) -> str:
        """Hash of the table."""
        return sha256_json(self.table.model_dump(mode="json"))


def source_names() -> list[str]:
    """Names of all cost sources that ship with the project."""
    gates, fpgas = ([prefix + name for name in names] for prefix, names in _prefixed())
    return [*cost_names(), *gates, *fpgas]


def _prefixed() -> list[tuple[str, list[str]]]:
    return [(GATES_PREFIX, gate_names()), (FPGA_PREFIX, fpga_names())]


def load_source(name: str) -> CostSource:
    """A cost source: an operator table by name or ``.yaml`` file, ``gates:LIBRARY`` or ``fpga:FAMILY``.

    Raises:
        InputError: unknown name (the known ones are listed), or a faulty file.
    """
    if name.startswith(GATES_PREFIX):
        source: GateSource = load_gates(name.removeprefix(GATES_PREFIX))
        return source
    if name.startswith(FPGA_PREFIX):
        return load_fpga(name.removeprefix(FPGA_PREFIX))
    if name not in source_names() and not name.endswith((".yaml", ".yml")):
        meant = did_you_mean(name, source_names())
        raise InputError(f"costs must be one of {', '.join(source_names())} or a .yaml file, not {name!r}{meant}")
    return OperatorSource(load_costs(name))
