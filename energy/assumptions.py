"""On what a result rests: every cost and statistic with its range, its kind, its source, and the energy it carries."""

from energy.costs.dram import chip_count, dram_power, load_dram
from energy.costs.gates import GATES_PREFIX, load_area_table
from energy.costs.placed import load_placed
from energy.costs.sources import CostSource
from energy.costs.sram import buffers_of
from energy.costs.tables import Cost, Kind, Share, load_host
from energy.summary import JobSummary
from hw.document import Record
from sim.result import SimResult

__all__ = ["Assumption", "assumptions_of"]


class Assumption(Record):
    """One figure or choice on which a result rests."""

    key: str  # by which sentences and marks name it
    subject: str
    value: str
    kind: Kind
    source: str
    shares: dict[str, float] = {}  # phase -> share of the first machine's typical energy that it prices


def assumptions_of(summary: JobSummary, result: SimResult, costs: CostSource) -> list[Assumption]:
    """The largest share of energy first; ``result``: of the first machine, ``costs``: its source.

    Raises:
        InputError: a memory standard without an energy figure.
    """
    recipes, measured = summary.ternary.energy_recipes, costs.name.startswith(GATES_PREFIX)
    found = [
        *_dram(result),
        Assumption(
            key="array",
            subject="multiply-accumulate of the array",
            value=recipes["array"],
            kind="measured" if measured else "derived",
            source=costs.source,
        ),
        Assumption(
            key="vector",
            subject="operations of the vector unit",
            value=recipes["vector"],
            kind="measured" if measured else "derived",
            source=costs.source,
        ),
        _sram(result, costs),
        Assumption(
            key="leakage",
            subject="leakage",
            value=recipes["leakage"],
            kind="derived" if measured else "assumed",
            source=costs.source,
        ),
    ]
    parts = summary.ternary.phases[0].joules_per_token
    if any(phase.joules_per_token["host"].typical for phase in summary.ternary.phases):
        found += _host()
    if measured:
        found += _placed(recipes)
    known = {one.key for one in found} | {"host"}
    found += [
        Assumption(key=part, subject=part.replace("_", " "), value=recipes[part], kind="derived", source=costs.source)
        for part in parts
        if part not in known and part in recipes and any(_shares(summary, part).values())
    ]
    priced = [one.model_copy(update={"shares": _shares(summary, one.key)}) for one in found]
    priced.sort(key=lambda one: max(one.shares.values(), default=0.0), reverse=True)
    return [*priced, *_operands(summary), _bandwidth(result), *_area(summary)]


def _shares(summary: JobSummary, part: str) -> dict[str, float]:
    return {
        phase.name: phase.joules_per_token[part].typical / phase.total_j_per_token.typical
        for phase in summary.ternary.phases
        if part in phase.joules_per_token
    }


def _dram(result: SimResult) -> list[Assumption]:
    """Bits, rows, standby and refresh: figures of a chip, and how sure they are."""
    table, name, chips = load_dram(), result.memory.standard, chip_count(result.memory)
    chip, power = table.standard(name), dram_power(name)
    shares = table.measured if chip.guard_banded else None
    drawn = f"; typical and low: {shares.read.source}" if shares else ""
    return [
        Assumption(
            key="dram",
            subject=f"a bit of {name} read or written, with its interface",
            value=f"{_ends(power.read_bit, 1e12)} pJ read, {_ends(power.write_bit, 1e12)} pJ written",
            kind=chip.kind,
            source=f"{chip.source}; interface: {chip.interface.source}{drawn}",
        ),
        Assumption(
            key="dram_rows",
            subject=f"rows of {name} opened for a row's worth of bits, each {_ends(power.row, 1e9)} nJ",
            value=_range(table.rows_opened, "rows"),
            kind=table.rows_opened.kind,
            source=table.rows_opened.source,
        ),
        Assumption(
            key="dram_standby",
            subject=f"standby of {chips} chips of {name}",
            value=f"{_ends(power.open_w, 1e3)} mW each while bits move, {_ends(power.idle_w, 1e3)} mW at rest",
            kind=chip.kind,
            source=chip.source + (f"; share of it: {shares.standby.source}" if shares else ""),
        ),
        Assumption(
            key="dram_refresh",
            subject=f"refresh of {chips} chips of {name}",
            value=f"{_ends(power.refresh_w, 1e3)} mW each",
            kind=chip.kind,
            source=chip.source + (f"; share of it: {shares.refresh.source}" if shares else ""),
        ),
    ]


def _sram(result: SimResult, costs: CostSource) -> Assumption:
    buffers = buffers_of(result.array, costs.sram, costs.name, result.cores.count)
    cells = ", ".join(f"{buffer.name} {buffer.cell}" for buffer in buffers if buffer.capacity_bytes)
    table, choice = buffers[0].table, costs.sram
    return Assumption(
        key="sram",
        subject="buffers",
        value=f"{cells} cells at {table.node_nm:g} nm x {choice.factor:.3g}, banks of {table.bank_bytes / 1024:g} KiB",
        kind=choice.kind,
        source=f"{table.source}; {choice.source}",
    )


def _placed(recipes: dict[str, str]) -> list[Assumption]:
    """What a placed block takes beyond its netlist; how much of its clock rests is assumed."""
    idle = load_placed().idle_clock
    return [
        Assumption(
            key="wires",
            subject="wires between the cells of array and vector unit",
            value=recipes["wires"],
            kind="measured",
            source="blocks placed and routed with the library's cells, or its nearest one's: docs/energy.md",
        ),
        Assumption(
            key="clock",
            subject="clock distribution, and the clock of cycles without work",
            value=_range(idle, "of the clock's power in such cycles"),
            kind=idle.kind,
            source=f"{idle.source}; distribution measured with the wires",
        ),
    ]


def _host() -> list[Assumption]:
    table = load_host()
    return [
        Assumption(
            key="host",
            subject="an operation of the host",
            value=_range(table.operation_pj, "pJ"),
            kind=table.operation_pj.kind,
            source=table.operation_pj.source,
        ),
        Assumption(
            key="host-link",
            subject="a bit over the host's link",
            value=_range(table.link_pj_per_bit, "pJ"),
            kind=table.link_pj_per_bit.kind,
            source=table.link_pj_per_bit.source,
        ),
    ]


def _operands(summary: JobSummary) -> list[Assumption]:
    """Zeros and toggles of the operands, phase by phase."""
    found = []
    for phase in summary.ternary.phases:
        own = [one for name, one in summary.statistics.items() if name.startswith(f"{phase.name} ")]
        if own:
            zeros, toggles = (
                sum(values) / len(own) for values in zip(*((s.zero_fraction, s.toggle_rate) for s in own), strict=True)
            )
            found.append(
                Assumption(
                    key=f"operands-{phase.name}",
                    subject=f"operands of {phase.name}",
                    value=f"{zeros:.3f} zeros, {toggles:.3f} toggles per bit",
                    kind="measured" if all(one.measured for one in own) else "assumed",
                    source=own[0].origin,
                )
            )
    return found


def _bandwidth(result: SimResult) -> Assumption:
    memory = result.memory
    return Assumption(
        key="bandwidth",
        subject=f"sustained bandwidth of {memory.name}",
        value=f"{memory.sequential_efficiency:.0%} of its pins' peak",
        kind="derived" if memory.dram else "assumed",
        source=f"{memory.efficiency_source}; {memory.source}",
    )


def _area(summary: JobSummary) -> list[Assumption]:
    if summary.ternary.area is None:
        return []
    table = load_area_table()
    named = {
        "utilization": ("cells of a placed block", table.utilization),
        "vector-lane": ("area of a lane of the vector unit, in lanes of the array's design", table.vector_lane),
        "ports": ("ports of the accumulators' memory, in area", table.accumulator_ports),
        "control": ("area of the control, in that of the ECP5 core", table.control),
    }
    return [
        Assumption(key=key, subject=subject, value=_range(share, ""), kind=share.kind, source=share.source)
        for key, (subject, share) in named.items()
    ]


def _range(share: Share, unit: str) -> str:
    return f"{share.typical:g} {unit} ({share.low:g} to {share.high:g})".replace("  ", " ")


def _ends(cost: Cost, unit: float) -> str:
    """``typical (low to high)``; ``unit``: how many of the unit that is printed make one of the cost's."""
    low, typical, high = (f"{value * unit:.3g}" for value in cost)
    return f"{typical} ({low} to {high})"
