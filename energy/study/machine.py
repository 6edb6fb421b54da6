"""One combination of a study as a machine: its fields over those of the base job, and the documents that they name."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from energy.costs.sources import CostSource, load_source
from energy.study.accuracy import manifest_of
from energy.study.axes import Value
from energy.study.setting import StudyJob
from hw.artifact import sha256_json, tool_version
from hw.config import ArrayConfig, load_array
from hw.document import Record, validate_document
from hw.errors import InputError
from quant.manifest import Manifest
from quant.shapes import ModelShape, load_shape
from sim.host import Host
from sim.memory import MemoryConfig, load_memory
from sim.residence import stored_bytes
from sim.result import SimResult
from sim.simulator import simulate_trace
from sim.split import simulate_split
from sim.trace.build import Trace
from sim.workload.job import WorkloadJob, refuse_beside_workload
from sim.workload.products import Workload

__all__ = ["AXES", "NAMED", "NOT_SIMULATED", "PLACEMENT", "Catalog", "Machine", "fields_of_machine", "is_axis"]

Document = TypeVar("Document")

NAMED = ("model", "array", "memory", "costs")  # fields that name a document
PLACEMENT = "placement."  # + name of an op

_KEPT_RUNS = 64  # shapes that rivals are tried in, too

_NESTED = ("host", "placement", "array_fields", "rivals", "workload_fields")  # no axes themselves
# Fields of a job that its run does not depend on.
NOT_SIMULATED = {"costs", "rivals", "rival_bus", "hold", "fits", "fpga"}
_UNSWEPT = {  # fields that are no figure, or are documents of their own
    "name", "description", "source", "efficiency_source", "capacity_source", "parameters", "parameters_source",
    "dram", "experts", "windowed_layers", "scaled", "dense_layers", "layers_without_rope",
}  # fmt: skip
_DOCUMENTS: dict[str, type[Record]] = {"host": Host, "array": ArrayConfig, "memory": MemoryConfig, "model": ModelShape}

# What an axis may be: fields of the job, then of the documents that it names, then ``placement.OP``.
AXES = (
    *(name for name in NAMED if name in StudyJob.model_fields),
    *(name for name in StudyJob.model_fields if name not in (*NAMED, *_NESTED)),
    *(
        f"{prefix}.{name}"
        for prefix, document in _DOCUMENTS.items()
        for name in document.model_fields
        if name not in _UNSWEPT
    ),
)


class Machine(NamedTuple):
    """A job with its documents, those that axes changed included."""

    job: StudyJob
    shape: ModelShape | Workload
    array: ArrayConfig
    memory: MemoryConfig
    costs: CostSource
    costs_sha256: str

    @property
    def sha256(self) -> str:
        """Hash of every input: two equal ones give the same row."""
        return sha256_json(
            {
                "version": tool_version(),
                "job": self.job.model_dump(mode="json", exclude=set(WorkloadJob.model_fields)),  # in shape
                "shape": self.shape.model_dump(mode="json"),
                "array": self.array.model_dump(mode="json"),
                "memory": self.memory.model_dump(mode="json"),
                "costs": self.costs_sha256,
            }
        )


class Catalog:
    """The documents that one run of a study has read, each once, and its latest simulations.

    Points that differ in costs alone are simulated once when they follow each other.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], object] = {}
        self._runs: dict[tuple, tuple[SimResult, int]] = {}

    def machine(self, base: StudyJob, values: Mapping[str, Value]) -> Machine:
        """The machine of one combination.

        Raises:
            InputError: a field that cannot be, a document that does not exist or fields of it that cannot be.
        """
        nested = {
            "host": base.host.model_dump() | _under("host.", values),
            "placement": base.placement | _under(PLACEMENT, values),
        }
        plain = {name: value for name, value in values.items() if "." not in name}
        job = validate_document(base.model_dump() | nested | plain, StudyJob, "job")
        array = job.with_cells(job.with_fields(self._changed("array", load_array, job.array, values)))
        costs = self._document("costs", load_source, job.costs)
        array = costs.clocked(array)
        if job.decode == 0:
            raise InputError("decode must be at least 1 in a study, not 0")
        if job.is_split and job.fits:
            raise InputError("decode_array, decode_memory and decode_cores must be left out beside fits")
        if job.is_split and job.rivals and job.hold != "lanes":
            raise InputError(
                f"hold must be lanes beside decode_array, decode_memory and decode_cores, not {job.hold}: rivals have "
                "as many lanes on both machines"
            )
        job.core_group.check(array)
        return Machine(
            job,
            self._workload(job, base, values) or self._changed("model", load_shape, job.model, values),
            array,
            self._changed("memory", load_memory, job.memory, values).with_channels(job.channels),
            costs,
            self._document("costs_sha256", lambda name: load_source(name).sha256(), job.costs),
        )

    def _workload(self, job: StudyJob, base: StudyJob, values: Mapping[str, Value]) -> Workload | None:
        """The products in the model's place.

        Raises:
            InputError: a faulty file, or fields that only a model has.
        """
        if job.workload is None:
            return job.products.load()  # refuses variables of no template
        fields = {name: getattr(base, name) for name in base.model_fields_set} | dict(values)
        of_model = {name: value for name, value in fields.items() if name == "method" or name.startswith("model.")}
        refuse_beside_workload({name: value for name, value in fields.items() if value is not None}, of_model)
        return self._document(f"workload with {job.workload_fields}", lambda _: job.products.load(), job.workload)

    def simulate(self, machine: Machine) -> tuple[SimResult, int]:
        """The run of ``machine``, and the bytes that it stores.

        Raises:
            InputError: sizes that the model or the machine cannot run.
        """
        key = _key(machine)
        if key not in self._runs:
            while len(self._runs) >= _KEPT_RUNS:
                del self._runs[next(iter(self._runs))]
            self._runs[key] = _simulated(machine, self._manifest(machine))
        return self._runs[key]

    def _manifest(self, machine: Machine) -> Manifest | None:
        """What the method says of the weights; a rival stores its own formats."""
        method = machine.job.method
        if method is None or not machine.array.arithmetic.stores_trits:
            return None
        key = f"manifest of {method}", machine.shape.model_dump_json()
        if key not in self._read:
            self._read[key] = manifest_of(method, machine.shape)
        return self._read[key]  # type: ignore[return-value]

    def check_names(self, kind: str, names: list[str]) -> None:
        """Load every document of ``kind`` that is named.

        Raises:
            InputError: a name that is none, or a faulty file.
        """
        loaders = {"model": load_shape, "array": load_array, "memory": load_memory, "costs": load_source}
        for name in names:
            self._document(kind, loaders[kind], name)

    def _document(self, kind: str, load: Callable[[str], Document], name: str) -> Document:
        if (kind, name) not in self._read:
            self._read[kind, name] = load(name)
        return self._read[kind, name]  # type: ignore[return-value]

    def _changed(self, kind: str, load: Callable[[str], Document], name: str, values: Mapping[str, Value]) -> Document:
        """The document called ``name`` with the values of axes ``kind.FIELD``."""
        document = self._document(kind, load, name)
        if not (changed := _under(f"{kind}.", values)):
            return document
        return validate_document(document.model_dump() | changed, type(document), f"{kind} {name!r}")  # type: ignore


def is_axis(name: str) -> bool:
    """True for a field that an axis may set."""
    return name in AXES or (name.startswith(PLACEMENT) and name != PLACEMENT)


def fields_of_machine(machine: Machine) -> dict[str, object]:
    """Every field that an axis may set with its value, by the axis's name: what expressions may use."""
    documents = {"": machine.job, "host.": machine.job.host, "array.": machine.array}
    documents |= {"memory.": machine.memory, "model.": machine.shape}
    return {
        prefix + name: getattr(document, name)
        for prefix, document in documents.items()
        for name in type(document).model_fields
        if prefix + name in AXES
    }


def _under(prefix: str, values: Mapping[str, Value]) -> dict[str, Value]:
    """Axes under ``prefix``, without it."""
    return {name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}


def _key(machine: Machine) -> tuple:
    """What a run depends on, which costs and comparisons are not."""
    fields = machine.job.model_dump(exclude=NOT_SIMULATED)
    return repr(fields), *(one.model_dump_json() for one in (machine.shape, machine.array, machine.memory))


def _simulated(machine: Machine, manifest: Manifest | None) -> tuple[SimResult, int]:
    """The run of ``machine``, on one array or on prefill's and decode's, and the bytes that it stores."""
    job, array, memory = machine.job, machine.array, machine.memory
    trace = _trace(machine, array, manifest)
    stored = stored_bytes(trace, array)
    if not job.is_split:
        return simulate_trace(trace, array, memory, job.core_group), stored
    link = job.decode_link(array)
    after = _trace(machine, link.array, manifest)
    result = simulate_split((trace, after), array, memory, link, job.core_group)
    return result, stored + stored_bytes(after, link.array)


def _trace(machine: Machine, array: ArrayConfig, manifest: Manifest | None) -> Trace:
    return machine.job.trace(machine.shape, array, manifest)
