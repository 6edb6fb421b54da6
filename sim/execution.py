"""``Execution``: how a run uses its machine: chunks of the prompt, fused projections, residence, double buffering."""

from typing import Annotated, Literal

from pydantic import Field

from hw.document import Record
from sim.host import Host

__all__ = ["Execution"]


class Execution(Record):
    """Choices of a run that neither the model nor the hardware fixes."""

    # prompt tokens of each sequence that run together; None = the whole prompt at once
    prefill_chunk: Annotated[int, Field(ge=1)] | None = None
    # also simulate one step that decodes the batch while the last tokens of one more prompt, this many, run along
    mixed_chunk: Annotated[int, Field(ge=1)] | None = None
    # one GEMM for q, k and v, and one for gate and up: fewer descriptors, inputs fetched once
    fuse_projections: bool = False
    # weights, embedding, lm_head and KV cache live in the weight buffer and never come from DRAM
    on_chip: bool = False
    # attention products and lm_head: on the array where it multiplies dense operands, or always on the vector unit
    dense_products: Literal["array", "vector"] = "array"
    # op name -> where it runs, beyond that; ``sim.machine.placement`` says which ops may run where
    placement: dict[str, Literal["array", "vector", "host"]] = {}
    host: Host = Host()
    # while an op leaves DRAM idle, the first weight tiles of the next GEMM come into the weight buffer
    prefetch_across_ops: bool = False
    # the next weight tile streams in while the active one is used
    double_buffer: bool = True
    # outermost loop of every GEMM (``sim.gemm.schedule.Mapping``), or whichever takes the fewest cycles
    mapping: Literal["auto", "tokens", "columns"] = "auto"
    # tokens of a GEMM that pass the array under one descriptor; None = whichever number takes the fewest cycles
    descriptor_tokens: Annotated[int, Field(ge=1)] | None = None
    # weight tiles, per core, that DRAM may be ahead of the bus; None = as many as the weight buffer holds
    prefetch_tiles: Annotated[int, Field(ge=1)] | None = None
