"""``JobSummary``: every number that the screen, the Markdown and the HTML report show, computed once."""

from energy.area import AreaResult, area_of_run
from energy.costs.operators import paper_recipes
from energy.costs.sources import CostSource
from energy.costs.tables import Cost, OpTable
from energy.luts import LutArea, luts_of
from energy.model import EnergyResult, PhaseEnergy, energy_of
from energy.sizing import Hold
from energy.split import Split
from hw.document import Record
from quant.manifest import Manifest
from sim.result import PhaseResult, SimResult, Statistics

__all__ = [
    "ClockGating",
    "JobSummary",
    "MachineSummary",
    "PaperLine",
    "PhaseSummary",
    "Quality",
    "Reduction",
    "summarize",
]


class OpSummary(Record):
    """Share of one kind of op in a phase."""

    name: str
    unit: str
    cycles: int
    macs: int
    causes: dict[str, int]


class PhaseSummary(Record):
    """One phase on one machine."""

    name: str
    tokens: int
    cycles: int
    seconds: float
    tokens_per_s: float
    utilization: float  # useful array MACs / (lanes x cycles)
    causes: dict[str, int]  # cycles by cause, sum = cycles
    joules_per_token: dict[str, Cost]  # by part
    total_j_per_token: Cost
    ops: list[OpSummary]

    @property
    def unit(self) -> str:
        """What is counted as a token: ``token``, or ``pass`` through a list of products."""
        return "pass" if self.name == "pass" else "token"

    @property
    def title(self) -> str:
        """The phase with its tokens, of which a pass has none."""
        return "a pass" if self.name == "pass" else f"{self.name}, {self.tokens} tokens"


class MachineSummary(Record):
    """One array with its memory."""

    name: str
    mac: str
    lanes: int
    size: str = ""  # rows x cols of a core
    weight_bits: float
    phases: list[PhaseSummary]
    energy_recipes: dict[str, str]
    area: AreaResult | None = None  # None: the costs name no cell library
    luts: LutArea | None = None  # where an FPGA's family was named

    def phase(self, name: str) -> PhaseSummary:
        """The phase called ``name``."""
        return next(phase for phase in self.phases if phase.name == name)


class Reduction(Record):
    """What the ternary array saves against one baseline in one phase: 1 - ternary / baseline, typical costs."""

    baseline: str
    phase: str
    latency: float
    array_energy: float  # the array's arithmetic alone
    compute_energy: float  # array and vector unit
    system_energy: float  # with SRAM, DRAM and leakage; the sum of the three that follow
    split: Split | None = None  # why: fewer bits of weights, arithmetic, the rest
    recipe: str


class PaperLine(Record):
    """Single-operator arithmetic from a published table, as papers print it."""

    recipe: str
    table: str
    reduction: float


class ClockGating(Record):
    """What resting the clocks of lanes whose operand stays could save at most, on recorded data."""

    phase: str
    steady_operands: float  # share of issues, weighed by multiply-accumulates
    clock_share: float  # of the array's energy: all its clocks
    saved: float  # of the array's energy, at most


class Quality(Record):
    """What quantization cost, where weights were quantized."""

    method: str
    true_bits: float
    zero_fraction: float
    text: str
    calibration: str
    perplexity: dict[str, float]


class JobSummary(Record):
    """The main job's result."""

    model: str
    parameters: int
    prefill: int
    decode: int
    batch: int
    memory: str
    memory_bytes_per_s: float
    clock_hz: float
    costs: str
    costs_source: str
    hold: Hold = "lanes"  # what the rivals have as much of
    machines: list[MachineSummary]  # the ternary array first
    reductions: list[Reduction]
    paper: list[PaperLine]
    statistics: dict[str, Statistics]  # phase and op -> operands
    clock_gating: list[ClockGating] = []  # where the operands were replayed and the costs know the clocks
    quality: Quality | None
    notes: list[str]

    @property
    def ternary(self) -> MachineSummary:
        """The array that the job is about."""
        return self.machines[0]


def summarize(
    results: list[SimResult],
    costs: CostSource,
    paper: list[OpTable],
    manifest: Manifest | None,
    splits: list[dict[str, Split]] | None = None,
    hold: Hold = "lanes",
    fpga: str | None = None,
    energies: list[EnergyResult] | None = None,
) -> JobSummary:
    """Summarize runs of one model; ``results[0]`` is the ternary array's, the others are its rivals.

    ``splits``: of each rival, phase -> why it takes more energy; ``hold``: what the rivals have as much of; ``fpga``:
    family whose tables are counted; ``energies``: of the runs, where they are known already.
    """
    energies = energies or [energy_of(result, costs) for result in results]
    first = results[0]
    notes = [note for result in results for note in [*result.notes, *costs.notes(result.array, result.cores.count)]]
    return JobSummary(
        model=first.model,
        parameters=first.shape.total_parameters,
        prefill=first.prefill,
        decode=first.decode,
        batch=first.batch,
        memory=first.memory.name,
        memory_bytes_per_s=first.memory.bytes_per_s,
        clock_hz=first.array.clock_hz,
        costs=costs.name,
        costs_source=costs.source,
        hold=hold,
        machines=[_machine(result, energy, costs, fpga) for result, energy in zip(results, energies, strict=True)],
        reductions=_reductions(results, energies, splits or [{}] * (len(results) - 1)),
        paper=[
            PaperLine(recipe=recipe.name, table=recipe.table, reduction=recipe.reduction)
            for table in paper
            for recipe in paper_recipes(table)
        ],
        statistics={
            f"{phase.name} {op.name}": op.statistics
            for phase in first.phases
            for op in phase.ops
            if op.statistics is not None
        },
        clock_gating=_clock_gating(first, costs),
        quality=_quality(manifest),
        notes=list(dict.fromkeys(notes)),
    )


def _machine(result: SimResult, energy: EnergyResult, costs: CostSource, fpga: str | None) -> MachineSummary:
    return MachineSummary(
        name=result.machine,
        mac=result.array.mac,
        lanes=result.lanes,
        size=f"{result.array.rows}x{result.array.cols}",
        weight_bits=result.array.weight_bits,
        phases=[_phase(result, phase, energy.phase(phase.name)) for phase in result.phases],
        energy_recipes=energy.recipes,
        area=area_of_run(result, costs),
        luts=luts_of(result.array, fpga, result.cores) if fpga else None,
    )


def _phase(result: SimResult, phase: PhaseResult, energy: PhaseEnergy) -> PhaseSummary:
    seconds = result.seconds(phase)
    return PhaseSummary(
        name=phase.name,
        tokens=phase.tokens,
        cycles=phase.cycles,
        seconds=seconds,
        tokens_per_s=phase.tokens / seconds,
        utilization=result.utilization(phase),
        causes=phase.causes,
        joules_per_token={part: cost.scaled(1 / phase.tokens) for part, cost in energy.parts.items()},
        total_j_per_token=energy.total.scaled(1 / phase.tokens),
        ops=[
            OpSummary(name=op.name, unit=op.unit, cycles=op.cycles, macs=op.macs, causes=op.causes) for op in phase.ops
        ],
    )


def _reductions(
    results: list[SimResult], energies: list[EnergyResult], splits: list[dict[str, Split]]
) -> list[Reduction]:
    """The first machine against each of the others, phase by phase."""
    ternary = energies[0]
    return [
        Reduction(
            baseline=other.array,
            phase=phase.name,
            latency=_saved(ternary.phase(phase.name).seconds, phase.seconds),
            array_energy=_saved(ternary.phase(phase.name).parts["array"].typical, phase.parts["array"].typical),
            compute_energy=_saved(ternary.phase(phase.name).compute.typical, phase.compute.typical),
            system_energy=_saved(ternary.phase(phase.name).total.typical, phase.total.typical),
            split=split.get(phase.name),
            recipe=f"({ternary.recipes['array']}) against ({other.recipes['array']})",
        )
        for other, split in zip(energies[1:], splits, strict=True)
        for phase in other.phases
    ]


def _saved(ternary: float, baseline: float) -> float:
    return 1 - ternary / baseline


def _clock_gating(result: SimResult, costs: CostSource) -> list[ClockGating]:
    """Steady operands x the clocks' share: as if every clock of the array were a lane's own."""
    share = costs.clock_share(result.array)
    found = []
    for phase in result.phases:
        measured = [
            (op.statistics.steady_operands, op.macs)
            for op in phase.ops
            if op.statistics and op.statistics.steady_operands is not None
        ]
        if share is not None and measured:
            steady = sum(steady * macs for steady, macs in measured) / sum(macs for _, macs in measured)
            found.append(ClockGating(phase=phase.name, steady_operands=steady, clock_share=share, saved=steady * share))
    return found


def _quality(manifest: Manifest | None) -> Quality | None:
    if manifest is None:
        return None
    return Quality(
        method=manifest.method,
        true_bits=manifest.true_bits,
        zero_fraction=manifest.zero_fraction,
        text=manifest.evaluation,
        calibration=manifest.calibration,
        perplexity=manifest.perplexity,
    )
