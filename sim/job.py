"""``SimJob``: a model's prefill and decode on one machine; options, YAML and Python fill the same fields."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field

from hw.config import ArrayConfig, load_array
from hw.document import validate_document
from hw.errors import InputError
from hw.formats import MAX_PLANES, DigitCount
from quant.manifest import Manifest
from quant.shapes import ModelShape
from sim.attention import choose_digits
from sim.cores import CoreGroup, CoreSplit
from sim.execution import Execution
from sim.head import choose_head, embedding_bits
from sim.memory import Channels, MemoryConfig, load_memory
from sim.result import SimResult
from sim.simulator import array_formats, simulate_trace
from sim.split import Link, simulate_split
from sim.trace.build import Trace, TraceStatistics, build_trace
from sim.trace.ops import Formats
from sim.trace.products import workload_trace
from sim.workload.products import Workload
from sim.workload.scale_sim import read_config

__all__ = ["SimJob"]

Count = Annotated[int, Field(ge=1)]


class SimJob(Execution):
    """What to simulate, and how the machine runs it. Names are of shipped documents, or ``.yaml`` files."""

    model: str = Field("llama2-7b", description="shipped model (tritforge list models), or a file or hub id of one")
    array: str = Field(
        "mobile-64x64", description="shipped array (tritforge list arrays), RxC, a .yaml or a SCALE-Sim .cfg file"
    )
    array_fields: dict[str, bool | int | float | str] = Field(
        {},
        description="field of the array that is another one in this run, such as vector_units=2, attention_lanes=64, "
        "vector_bus_bits=256 or activation_port_bits=1024",
    )
    memory: str = Field("lpddr5-6400", description="shipped memory (tritforge list memories) or a .yaml file")
    channels: Channels | None = Field(
        None,
        description="channels of the memory, such as 40 for a card with five stacks of hbm2e-3200; by default the "
        "memory's own",
    )
    prefill: Count = Field(512, description="prompt tokens per sequence")
    decode: Annotated[int, Field(ge=0)] = Field(128, description="steps of one token per sequence")
    batch: Count = Field(1, description="sequences that run together")
    kv_bits: Literal[4, 8, 16] = Field(16, description="bits of a KV cache element in DRAM, where it is not digits")
    key_digits: DigitCount | None = Field(
        None,
        description="balanced-ternary digits of K where a ternary array multiplies it; by default as the model's "
        "perplexity was measured (--kv), else 4",
    )
    value_digits: DigitCount | None = Field(None, description="the same of V; by default as measured, else 3")
    rotate: bool | None = Field(
        None,
        description="pass q and k through the Walsh-Hadamard transform, by additions, before they become digits and "
        "int8; by default as measured, else so",
    )
    head_bits: Literal[4, 8, 16] | None = Field(
        None,
        description="bits of an lm_head weight in DRAM, where it is not digits; by default 8, or 16 on fp16 arrays",
    )
    head_digits: Annotated[int, Field(ge=1, le=MAX_PLANES)] | None = Field(
        None,
        description="balanced-ternary digits of an lm_head weight, which a ternary array multiplies as it does trits: "
        "1 is ternary, 3 hold int4; more than 1 need an array with digits; by default those that the model's head was "
        "quantized to, where the array multiplies them",
    )
    embedding_bits: Literal[2, 4, 8, 16] | None = Field(
        None,
        description="bits of an embedding weight in DRAM; 2: trits; by default what holds the digits that the model's "
        "embedding was quantized to, else 16",
    )
    zero_fraction: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description="share of zeros among the trits of a model whose weights were not quantized here; by default that "
        "of Gaussian weights, 0.31",
    )
    cores: Count = Field(1, description="arrays side by side behind the same two buffers and the same DRAM")
    core_split: CoreSplit = Field(
        "auto",
        description="what the cores share out: column tiles of a GEMM, folds over its K, whatever mixture takes the "
        "fewest cycles, or the sequences of the batch, each core at its own pace with its share of buffers and DRAM",
    )
    decode_array: str | None = Field(
        None, description="array of decode, where that is another machine than prefill's; named as array is"
    )
    decode_memory: str | None = Field(None, description="memory of decode's machine; by default another of the same")
    decode_channels: Channels | None = Field(None, description="channels of decode's memory; by default its own")
    decode_cores: Count | None = Field(None, description="cores of decode's machine; by default as many as prefill's")
    kv_link_bytes_per_s: Annotated[float, Field(gt=0)] = Field(
        8e9, description="bytes per second over which K and V of the prompt go from prefill's machine to decode's"
    )
    kv_link_latency_s: Annotated[float, Field(ge=0)] = Field(5e-6, description="seconds until the first of them arrive")
    core_link_bits: Count | None = Field(
        None, description="bits of partial sums per cycle from core to core; by default a result vector per cycle"
    )

    @property
    def core_group(self) -> CoreGroup:
        """The cores as the simulator takes them."""
        return CoreGroup(count=self.cores, split=self.core_split, link_bits=self.core_link_bits)

    def load_array(self) -> ArrayConfig:
        """The array with the fields that were asked for, which its name then says.

        Raises:
            InputError: an unknown array or field, a faulty file, or an array that cannot be.
        """
        is_config = self.array.endswith(".cfg")
        return self.with_fields(read_config(Path(self.array)) if is_config else load_array(self.array))

    def with_fields(self, array: ArrayConfig) -> ArrayConfig:
        """``array`` with this job's ``array_fields``.

        Raises:
            InputError: an unknown field, or an array that cannot be.
        """
        if not self.array_fields:
            return array
        name = "+".join([array.name, *(f"{field}={value}" for field, value in self.array_fields.items())])
        return validate_document(array.model_dump() | {"name": name} | self.array_fields, ArrayConfig, "array_fields")

    def load_memory(self) -> MemoryConfig:
        """The memory with the channels that were asked for.

        Raises:
            InputError: an unknown memory, or a faulty file.
        """
        return load_memory(self.memory, self.channels)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Prompt, decoded tokens and sequences."""
        return self.prefill, self.decode, self.batch

    @property
    def is_split(self) -> bool:
        """Whether decode has a machine of its own."""
        asked = (self.decode_array, self.decode_memory, self.decode_channels, self.decode_cores)
        return any(one is not None for one in asked)

    def decode_link(self, array: ArrayConfig) -> Link:
        """Decode's machine behind its link, in the arithmetic of ``array``, prefill's.

        Raises:
            InputError: an unknown name, or a faulty file.
        """
        own = load_array(self.decode_array) if self.decode_array else array
        memory = load_memory(self.decode_memory or self.memory, self.decode_channels or self._same_channels)
        count = self.decode_cores or self.cores
        cores = CoreGroup(count=count, split=self.core_split, link_bits=self.core_link_bits)
        return Link(
            array=cores.fed(own if own.mac == array.mac else own.baseline(array.mac)),
            memory=memory,
            cores=cores,
            bytes_per_s=self.kv_link_bytes_per_s,
            latency_s=self.kv_link_latency_s,
        )

    @property
    def _same_channels(self) -> int | None:
        """Channels of prefill's memory, where decode's is the same."""
        return self.channels if self.decode_memory in (None, self.memory) else None

    @property
    def execution(self) -> Execution:
        """How the machine runs, without what it runs."""
        return Execution(**{name: getattr(self, name) for name in Execution.model_fields})

    def as_rival(self) -> Self:
        """The same run for a machine that is compared: K and V as they are, multiplied where ``dense_products`` says.

        What its wider weights take beyond the memory's capacity is noted, not refused.
        """
        kept = {
            "zero_fraction": None,
            "head_digits": None,
            "attention": "auto",
            "key_digits": None,
            "value_digits": None,
            "rotate": None,
        }
        return self.model_copy(update=kept | {"beyond_capacity": True})

    def formats(self, array: ArrayConfig, shape: ModelShape | Workload, manifest: Manifest | None = None) -> Formats:
        """What suits ``array``, with this job's KV cache of ``shape``, or that over which ``manifest`` was measured.

        Nothing is stored beside the products of a workload.

        Raises:
            InputError: digits of K and V that ``array`` does not multiply; zeros that ``manifest`` measured.
        """
        if isinstance(shape, Workload):
            return array_formats(array).model_copy(update={"zero_fraction": self.zero_fraction})
        if manifest is not None and self.zero_fraction is not None:
            raise InputError(
                f"zero_fraction must be left out where weights are quantized, whose own share of zeros is "
                f"{manifest.zero_fraction:.3g}, not {self.zero_fraction:g}; or simulate --shapes-only"
            )
        asked = self.key_digits, self.value_digits, self.rotate
        digits = choose_digits(array, shape.head_dim, self.execution, *asked, manifest)
        plain = array_formats(array)
        head = None if self.head_bits else choose_head(array, self.execution, manifest)
        changes = {
            "kv_bits": self.kv_bits,
            "digits": digits,
            "head_bits": self.head_bits or plain.head_bits,
            "head_digits": self.head_digits or head,
            "embedding_bits": self.embedding_bits or embedding_bits(manifest),
            "zero_fraction": self.zero_fraction,
        }
        return plain.model_copy(update=changes)

    def trace(
        self,
        shape: ModelShape | Workload,
        array: ArrayConfig,
        manifest: Manifest | None = None,
        statistics: TraceStatistics | None = None,
    ) -> Trace:
        """What this job executes on ``array``.

        Raises:
            InputError: sizes that the model cannot run, digits that ``array`` does not multiply.
        """
        formats = self.formats(array, shape, manifest)
        if isinstance(shape, Workload):
            return workload_trace(shape, formats, self.execution)
        return build_trace(shape, *self.sizes, formats, manifest, statistics, self.execution)

    def simulate(
        self,
        shape: ModelShape | Workload,
        array: ArrayConfig,
        manifest: Manifest | None = None,
        statistics: TraceStatistics | None = None,
    ) -> SimResult:
        """Simulate ``shape`` on ``array``, which stores the weights that ``manifest`` describes.

        ``statistics``: measured zero fractions and toggles of those weights.

        Raises:
            InputError: an unknown memory, or sizes that the model or the machine cannot run.
        """
        if self.is_split:
            link = self.decode_link(array)
            traces = [self.trace(shape, one, manifest, statistics) for one in (array, link.array)]
            return simulate_split((traces[0], traces[1]), array, self.load_memory(), link, self.core_group)
        trace = self.trace(shape, array, manifest, statistics)
        return simulate_trace(trace, array, self.load_memory(), self.core_group)
