"""``SimResult``: cycles by cause and action counts of every op of every phase on one machine."""

from pathlib import Path

from hw.artifact import write_artifact
from hw.config import ArrayConfig
from hw.document import Record, read_record
from quant.shapes import ModelShape
from sim.cores import ONE_CORE, CoreGroup
from sim.counts import ActionCounts
from sim.execution import Execution
from sim.memory import MemoryConfig
from sim.workload.products import Workload

__all__ = [
    "CAUSES",
    "DecodeMachine",
    "OpResult",
    "PhaseResult",
    "SimResult",
    "Statistics",
    "read_result",
    "write_result",
]

_SCHEMA, _VERSION = "tritforge.sim", 1

# Every cycle of an op has one cause; they sum to its cycles.
CAUSES = (
    "ideal",  # every lane of the array takes a vector (edge lanes included)
    "fill_drain",  # first tile's load, pipeline drain
    "weight_stall",  # the array waits for the weight bus or the unpacker
    "dram_stall",  # the array or the vector unit waits for DRAM
    "vector",  # the vector unit works and the array waits for it
    "host",  # the host works, or its link
    "port_stall",  # a buffer's port is busy with everything that wants it
    "output_stall",  # results leave, partial sums are on their way to another core, or K and V to another machine
)


class Statistics(Record):
    """What the operands of a GEMM look like, and where that was learned."""

    zero_fraction: float  # share of zero trits
    toggle_rate: float  # bit toggles of a lane's selected operand per bit and issue; random dense operands: 0.5
    input_toggle_rate: float  # the same for the activation before selection: what a dense int8 array sees
    steady_operands: float | None = None  # share of issues that leave a lane's operand as it was; None: not measured
    measured: bool
    origin: str


class OpResult(Record):
    """One kind of op of a phase, summed over layers and steps."""

    name: str  # e.g. "q_proj", "attention_scores", "rms_norm", "lm_head"
    unit: str  # "array", "vector", "host", "dram" or "link"
    count: int  # executions: layers x steps
    macs: int  # useful multiply-accumulates
    cycles: int
    causes: dict[str, int]  # keys of CAUSES, sum = cycles
    counts: ActionCounts
    statistics: Statistics | None = None
    tried: dict[str, int] = {}  # cycles of one execution under each mapping that was tried, the chosen one first


class PhaseResult(Record):
    """Prefill or decode, whole."""

    name: str  # "prefill", "decode", "mixed", or "pass" through a workload
    tokens: int  # prompt tokens x batch, or steps x batch; 1 of a pass
    steps: int
    ops: list[OpResult]

    @property
    def cycles(self) -> int:
        """Cycles of all ops, which run sequentially."""
        return sum(op.cycles for op in self.ops)

    @property
    def causes(self) -> dict[str, int]:
        """Cycles by cause over all ops."""
        return {cause: sum(op.causes.get(cause, 0) for op in self.ops) for cause in CAUSES}

    @property
    def counts(self) -> ActionCounts:
        """Actions of all ops."""
        return sum((op.counts for op in self.ops), ActionCounts())


class DecodeMachine(Record):
    """The machine of decode, where that is another one than the machine of prefill."""

    array: ArrayConfig
    memory: MemoryConfig
    cores: CoreGroup = ONE_CORE


class SimResult(Record):
    """A whole run of one model on one machine."""

    model: str
    shape: ModelShape | Workload
    method: str  # quantization method, or "" where no weights were quantized
    array: ArrayConfig
    memory: MemoryConfig
    cores: CoreGroup = ONE_CORE
    decode_machine: DecodeMachine | None = None  # array, memory and cores are then those of prefill
    prefill: int
    decode: int
    batch: int
    execution: Execution = Execution()
    phases: list[PhaseResult]
    notes: list[str] = []  # assumptions a reader must know

    @property
    def machine(self) -> str:
        """Name of the array, and how many of it there are; of decode's array behind prefill's."""
        name = f"{self.cores.count} x {self.array.name}" if self.cores.count > 1 else self.array.name
        return f"{name}, then {self.on('decode').machine}" if self.decode_machine else name

    def on(self, phase: str) -> "SimResult":
        """This run as one whose only machine is that of ``phase``."""
        if self.decode_machine is None:
            return self
        changes: dict[str, object] = {"decode_machine": None}
        if phase == "decode":
            changes |= {name: getattr(self.decode_machine, name) for name in DecodeMachine.model_fields}
        return self.model_copy(update=changes)

    @property
    def lanes(self) -> int:
        """Lanes of all cores."""
        return self.array.lanes * self.cores.count

    @property
    def vector_lanes(self) -> int:
        """Lanes of all vector units of all cores."""
        return self.array.vector_lanes * self.array.vector_units * self.cores.count

    @property
    def attention_lanes(self) -> int:
        """Lanes that attention has: its own units' of all cores, or those of the vector units."""
        return self.array.attention_lanes * self.cores.count or self.vector_lanes

    def phase(self, name: str) -> PhaseResult:
        """The phase called ``name``."""
        return next(phase for phase in self.phases if phase.name == name)

    def seconds(self, phase: PhaseResult) -> float:
        """Duration of a phase at its array's clock."""
        return phase.cycles / self.on(phase.name).array.clock_hz

    def utilization(self, phase: PhaseResult) -> float:
        """Useful array MACs over lanes of all cores x cycles of the phase."""
        return phase.counts.array_macs / (self.on(phase.name).lanes * phase.cycles)


def write_result(path: Path, result: SimResult, inputs: dict[str, str]) -> None:
    """Write ``sim.json``."""
    write_artifact(path, _SCHEMA, _VERSION, result.model_dump(), inputs)


def read_result(path: Path) -> SimResult:
    """Read ``sim.json``.

    Raises:
        InputError: missing, damaged, or of another version.
    """
    return read_record(path, _SCHEMA, _VERSION, SimResult, "simulate again: make sim MODEL=...")
