"""``Host``: the host processor, for ops that are placed there, and what one of its steps takes."""

from typing import Annotated, ClassVar

from pydantic import Field

from hw.document import Record

__all__ = ["Host"]

Rate = Annotated[float, Field(gt=0)]


class Host(Record):
    """A processor behind a link. The defaults are assumed: four 2 GHz cores with two 128-bit vector units each."""

    file_schema: ClassVar[str | None] = "tritforge.host.1"

    source: str = Field(
        "assumed: four cores at 2 GHz, two 128-bit vector units each", description="where the host's figures come from"
    )
    # int8 dot products: 4 cores x 2 GHz x 2 units x 16
    macs_per_s: Rate = Field(256e9, description="int8 multiply-accumulates per second of the host")
    # 4 cores x 2 GHz x 2 units x 8
    operations_per_s: Rate = Field(128e9, description="operations on 16-bit elements per second of the host")
    link_bytes_per_s: Rate = Field(
        8e9, description="bytes per second between array and host, activations and results alike"
    )
    latency_s: Annotated[float, Field(ge=0)] = Field(
        5e-6, description="seconds from the end of one op to the start of the host's, and back"
    )
