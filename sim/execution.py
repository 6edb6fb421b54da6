"""``Execution``: how a run uses its machine: chunks of the prompt, fused projections, residence, double buffering."""

from typing import Annotated, Literal

from pydantic import Field

from hw.document import Record
from sim.host import Host

__all__ = ["Execution"]

Count = Annotated[int, Field(ge=1)]
Unit = Literal["array", "vector", "host"]


class Execution(Record):
    """Choices of a run that neither the model nor the hardware fixes."""

    prefill_chunk: Count | None = Field(
        None, description="prompt tokens of each sequence that run together; by default the whole prompt at once"
    )
    mixed_chunk: Count | None = Field(
        None,
        description="also simulate one step that decodes the batch while the last tokens of one more prompt, this "
        "many, run along",
    )
    fuse_projections: bool = Field(
        False,
        description="run q, k and v as one GEMM, and gate and up as another: fewer descriptors, inputs fetched once",
    )
    on_chip: bool = Field(
        False,
        description="keep weights, embedding, lm_head and KV cache in the weight buffer, so that none comes from DRAM; "
        "refused with the bytes that are needed where they do not fit",
    )
    beyond_capacity: bool = Field(
        False,
        description="simulate a model that does not fit the memory as if its channels held more; a note says so. By "
        "default it is refused, with the channels and the memory that would hold it",
    )
    dense_products: Literal["array", "vector"] = Field(
        "array",
        description="where attention products and lm_head run: on the array where it multiplies dense operands, or "
        "always on the vector unit",
    )
    attention: Literal["auto", "array", "vector"] = Field(
        "auto",
        description="where attention products run; on a ternary array K and V become balanced-ternary digits. auto: "
        "on the array where it can (digits, lane_loading, planes enough), else on the vector unit; for other arrays "
        "as dense_products says",
    )
    # beyond these; ``sim.machine.placement`` says which ops may run where
    placement: dict[str, Unit] = Field(
        {}, description="op that is moved to the array, the vector unit or the host, such as lm_head=host"
    )
    host: Host = Field(Host(), description="the processor that runs the ops placed on the host")
    prefetch_across_ops: bool = Field(
        False, description="fetch the first weight tiles of the next GEMM while an op leaves DRAM idle"
    )
    double_buffer: bool = Field(True, description="stream the next weight tile in while the active one is used")
    # ``sim.gemm.schedule.Mapping``
    mapping: Literal["auto", "tokens", "columns"] = Field(
        "auto", description="outermost loop of every GEMM; auto takes whichever needs the fewest cycles"
    )
    descriptor_tokens: Count | None = Field(
        None,
        description="tokens of a GEMM that pass the array under one descriptor; by default whichever number takes the "
        "fewest cycles",
    )
    prefetch_tiles: Count | None = Field(
        None,
        description="weight tiles, per core, that DRAM may be ahead of the bus; by default as many as the weight "
        "buffer holds",
    )
