"""One combination of a study as a machine: its fields over those of the base job, and the documents that they name."""

from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

from energy.costs.sources import CostSource, load_source
from energy.job import Job
from energy.study.axes import Value
from hw.artifact import sha256_json, tool_version
from hw.config import ArrayConfig, load_array
from hw.document import Record, validate_document
from hw.errors import InputError
from quant.shapes import ModelShape, load_shape
from sim.host import Host
from sim.memory import MemoryConfig, load_memory
from sim.residence import stored_bytes
from sim.result import SimResult
from sim.simulator import simulate_trace
from sim.trace.build import Trace, build_trace

__all__ = ["AXES", "NAMED", "PLACEMENT", "Catalog", "Machine", "fields_of_machine", "is_axis"]

Document = TypeVar("Document")

NAMED = ("model", "array", "memory", "costs")  # fields that name a document
PLACEMENT = "placement."  # + name of an op

_NESTED = ("host", "placement", "array_fields")
_SPLIT = (
    "decode_array",
    "decode_memory",
    "decode_channels",
    "decode_cores",
    "kv_link_bytes_per_s",
    "kv_link_latency_s",
)
_UNSWEPT = {  # fields that are no figure, or are documents of their own
    "name", "description", "source", "efficiency_source", "parameters", "parameters_source", "dram", "experts",
    "windowed_layers", "scaled", "dense_layers", "layers_without_rope",
}  # fmt: skip
_DOCUMENTS: dict[str, type[Record]] = {"host": Host, "array": ArrayConfig, "memory": MemoryConfig, "model": ModelShape}

# What an axis may be: fields of the job, then of the documents that it names, then ``placement.OP``.
AXES = (
    *(name for name in NAMED if name in Job.model_fields),
    *(name for name in Job.model_fields if name not in (*NAMED, *_NESTED, *_SPLIT)),
    *(
        f"{prefix}.{name}"
        for prefix, document in _DOCUMENTS.items()
        for name in document.model_fields
        if name not in _UNSWEPT
    ),
)


class Machine(NamedTuple):
    """A job with its documents, those that axes changed included."""

    job: Job
    shape: ModelShape
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
                "job": self.job.model_dump(mode="json"),
                "shape": self.shape.model_dump(mode="json"),
                "array": self.array.model_dump(mode="json"),
                "memory": self.memory.model_dump(mode="json"),
                "costs": self.costs_sha256,
            }
        )


class Catalog:
    """The documents that one run of a study has read, each once, and its latest simulation.

    Points that differ in costs alone are simulated once when they follow each other.
    """

    def __init__(self) -> None:
        self._read: dict[tuple[str, str], object] = {}
        self._latest: tuple[tuple, SimResult, int] | None = None

    def machine(self, base: Job, values: Mapping[str, Value]) -> Machine:
        """The machine of one combination.

        Raises:
            InputError: a field that cannot be, a document that does not exist or fields of it that cannot be.
        """
        nested = {
            "host": base.host.model_dump() | _under("host.", values),
            "placement": base.placement | _under(PLACEMENT, values),
        }
        plain = {name: value for name, value in values.items() if "." not in name}
        job = validate_document(base.model_dump() | nested | plain, Job, "job")
        array = job.with_cells(job.with_fields(self._changed("array", load_array, job.array, values)))
        costs = self._document("costs", load_source, job.costs)
        array = costs.clocked(array)
        if job.decode == 0:
            raise InputError("decode must be at least 1 in a study, not 0")
        if job.is_split:
            raise InputError("decode_array, decode_memory and decode_cores must be left out of a study's base")
        job.core_group.check(array)
        return Machine(
            job,
            self._changed("model", load_shape, job.model, values),
            array,
            self._changed("memory", load_memory, job.memory, values).with_channels(job.channels),
            costs,
            self._document("costs_sha256", lambda name: load_source(name).sha256(), job.costs),
        )

    def simulate(self, machine: Machine) -> tuple[SimResult, int]:
        """The run of ``machine``, and the bytes that it stores.

        Raises:
            InputError: sizes that the model or the machine cannot run.
        """
        key = (machine.job.model_copy(update={"costs": ""}), machine.shape, machine.array, machine.memory)
        if self._latest is None or self._latest[0] != key:
            trace = _trace(machine)
            result = simulate_trace(trace, machine.array, machine.memory, machine.job.core_group)
            self._latest = key, result, stored_bytes(trace, machine.array)
        return self._latest[1:]

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


def _trace(machine: Machine) -> Trace:
    job = machine.job
    return build_trace(
        machine.shape,
        job.prefill,
        job.decode,
        job.batch,
        formats=job.formats(machine.array, machine.shape),
        execution=job.execution,
    )
