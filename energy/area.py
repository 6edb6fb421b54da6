"""Area of a machine by part, low / typical / high: logic from gate-level designs, SRAM macros from CACTI, in mm2.

logic   = cell area / utilization
array   = lanes x area of a lane of the measured design (its own weight, its share of tree and accumulator)
SRAM    = CACTI's macro at its node x what cells shrink to the library's node
"""

from energy.costs.gates import GateSource, load_area_table
from energy.costs.sources import CostSource
from energy.costs.sram import Buffer, buffers_of
from energy.costs.tables import ZERO, Cost
from hw.arithmetics import ARITHMETICS
from hw.config import ArrayConfig
from hw.document import Record
from hw.errors import InputError
from hw.formats import SCALE_BITS
from sim.cores import ONE_CORE, CoreGroup
from sim.result import SimResult

__all__ = ["AREA_PARTS", "AreaResult", "area_of", "area_of_run"]

AREA_PARTS = ("array", "accumulators", "requantizers", "vector", "sram", "sequencing")

_COMPUTE = ("array", "vector")
_INT8_PRODUCT_BITS = 64  # partial products of int8 x int8
_UM2_PER_MM2 = 1e6
_SUM_BITS = 32  # of an int8 lane of the vector unit


class AreaResult(Record):
    """Area of one machine by part, mm2."""

    parts_mm2: dict[str, Cost]  # keys of AREA_PARTS
    recipes: dict[str, str]  # part -> how its area was computed

    @property
    def total(self) -> Cost:
        """All parts, mm2."""
        return sum(self.parts_mm2.values(), ZERO)

    @property
    def compute(self) -> Cost:
        """Array and vector unit, mm2."""
        return sum((self.parts_mm2[name] for name in _COMPUTE), ZERO)


def area_of(array: ArrayConfig, costs: CostSource, cores: CoreGroup = ONE_CORE) -> AreaResult | None:
    """Area of ``cores`` of ``array`` and their two shared buffers; None where the costs name no cell library."""
    basis = costs.area_basis()
    if basis is None:
        return None
    gates, factor = basis
    weight, activation, accumulator = buffers_of(array, gates.sram, gates.name)
    per_core = {
        "array": _logic(gates.lane_area_um2(array) * array.lanes + gates.digits_area_um2(array)),
        "accumulators": _accumulators(accumulator, gates),
        "requantizers": _requantizers(array, gates),
        "vector": _vector(array, gates),
        "sequencing": _sequencing(array, gates),
    }
    buffers = _macro(weight, gates) + _macro(activation, gates)
    parts = {name: area.scaled(cores.count * factor) for name, area in per_core.items()}
    parts["sram"] = buffers.scaled(factor)
    return AreaResult(
        parts_mm2={name: parts[name] for name in AREA_PARTS}, recipes=_recipes(array, gates, factor, weight)
    )


def area_of_run(result: SimResult, costs: CostSource) -> AreaResult | None:
    """Area of the machine of a run, or of both where decode has one of its own; None where the costs know none."""
    first = area_of(result.array, costs, result.cores)
    if first is None or result.decode_machine is None:
        return first
    other = result.on("decode")
    second = area_of(other.array, costs, other.cores)
    if second is None:
        return None
    parts = {name: area + second.parts_mm2[name] for name, area in first.parts_mm2.items()}
    return AreaResult(
        parts_mm2=parts, recipes={name: f"{text}; of both machines" for name, text in first.recipes.items()}
    )


def _logic(um2: float) -> Cost:
    """Cells of ``um2`` as a placed block, mm2."""
    used = load_area_table().utilization
    mm2 = um2 / _UM2_PER_MM2
    return Cost(mm2 / used.high, mm2 / used.typical, mm2 / used.low)


def _accumulators(buffer: Buffer, gates: GateSource) -> Cost:
    """The buffer of partial sums; an output-stationary element has its sum in the lane's own register."""
    if not buffer.capacity_bytes:
        return ZERO
    ports = load_area_table().accumulator_ports
    return _macro(buffer, gates).times(ports.ends)


def _requantizers(array: ArrayConfig, gates: GateSource) -> Cost:
    """A multiplier of sums by scales for each column, in partial products; none where results are sums."""
    if array.results != "int8":
        return ZERO
    products = array.cols * array.accumulator_bits * SCALE_BITS
    share = load_area_table().requantizer
    return _logic(products * _partial_product_um2(gates)).times(share.ends)


def _partial_product_um2(gates: GateSource) -> float:
    """What an int8 lane is larger than a ternary one of the same sum, per partial product."""
    int8, ternary = (gates.design_area_um2("lane", name, _SUM_BITS) for name in ("int8", "ternary"))
    return (int8 - ternary) / _INT8_PRODUCT_BITS


def _vector(array: ArrayConfig, gates: GateSource) -> Cost:
    """Lanes of the vector unit.

    Those of an integer array are measured, with an int8 multiply-accumulate beside them where attention and lm_head
    cannot run on the array; those of a float array are its own lanes with the same tables, and an assumed range.
    """
    mac = gates.design_area_um2("lane", ARITHMETICS[array.arithmetic.vector_mac].gate_format, _SUM_BITS)
    if array.arithmetic.is_float:
        share = load_area_table().vector_lane
        lane = mac + (gates.vector.tables_area_um2 if gates.vector else 0.0)
        return _logic(array.all_vector_lanes * lane).times(share.ends)
    if gates.vector is None:
        raise InputError(f"costs {gates.name!r} must have the blocks of a vector unit: tritforge gates --vector")
    ends = gates.vector.lane_area_um2
    if array.arithmetic.dense_mac is None:
        ends = ends + Cost.exact(mac)
    used = load_area_table().utilization
    placed = Cost(ends.low / used.high, ends.typical / used.typical, ends.high / used.low)
    return placed.scaled(array.all_vector_lanes / _UM2_PER_MM2)


def _sequencing(array: ArrayConfig, gates: GateSource) -> Cost:
    """The shadow tile that loads while another works, either way round where it can, and the control of the core."""
    table = load_area_table()
    stored = 2 if array.arithmetic.stores_trits else array.arithmetic.stored_bits or 0
    if array.structure.outputs_stationary:
        stored = 0.0  # weights pass through
    shadow = _logic(array.lanes * stored * gates.flip_flop_um2)
    loading = table.lane_loading
    two_ways = shadow.times(loading.ends) if array.lane_loading else ZERO
    per_table = gates.design_area_um2("tree", "ternary", array.accumulator_bits) / table.array_tables_per_lane
    control = _logic(table.control_tables * per_table)
    return shadow + two_ways + control.times(table.control.ends)


def _macro(buffer: Buffer, gates: GateSource) -> Cost:
    """A buffer's macros at the library's node."""
    shrink = gates.sram_area_factor
    return buffer.area_mm2.times(shrink.ends)


def _recipes(array: ArrayConfig, gates: GateSource, factor: float, buffer: Buffer) -> dict[str, str]:
    table, sram = load_area_table(), buffer.table
    used = table.utilization
    scaled = "" if factor == 1 else f", x {factor:g}"
    placed = f"{gates.name}, cells cover {used.typical:.0%} ({used.low:.0%} to {used.high:.0%}){scaled}"
    shrink = gates.sram_area_factor
    macro = (
        f"CACTI 7 {sram.node_nm:g} nm macros of {buffer.cell} cells x {shrink.typical:g} "
        f"({shrink.low:g} to {shrink.high:g}){scaled}"
    )
    digits = f", {sum(array.digit_adder_bits)} bits of adders per column for digit planes" if array.digits else ""
    loaded = " behind multiplexers, for lanes or columns" if array.lane_loading else ""
    return {
        "array": f"{gates.area_recipe(array)}{digits}, {placed}",
        "accumulators": f"{macro}, two ports x {table.accumulator_ports.typical:g}",
        "requantizers": f"sum bits x {SCALE_BITS} partial products of an int8 lane per column, {placed}",
        "vector": f"{gates.vector_recipe(array)}, {placed}",
        "sram": f"{macro}, banks of {sram.bank_bytes / 1024:g} KiB to one array",
        "sequencing": f"shadow tile of flip-flops{loaded}, control as on ECP5 in units of the array, {placed}",
    }
