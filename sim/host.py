"""``Host``: the processor beside the arrays, for ops that are placed there, and what one of its steps takes."""

from typing import Annotated

from pydantic import Field

from hw.document import Record

__all__ = ["Host"]

Rate = Annotated[float, Field(gt=0)]


class Host(Record):
    """A processor behind a link. The defaults are assumed: four 2 GHz cores with two 128-bit vector units each."""

    source: str = "assumed: four cores at 2 GHz, two 128-bit vector units each"
    macs_per_s: Rate = 256e9  # int8 dot products: 4 cores x 2 GHz x 2 units x 16
    operations_per_s: Rate = 128e9  # 16-bit elements: 4 cores x 2 GHz x 2 units x 8
    link_bytes_per_s: Rate = 8e9  # activations and results
    latency_s: Annotated[float, Field(ge=0)] = 5e-6  # from the end of one op to the start of the host's, and back
