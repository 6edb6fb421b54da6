"""``BenchJob``: what to time of quantization; readable without torch."""

from typing import Annotated

from pydantic import Field

from hw.document import Record

__all__ = ["BenchJob"]

Count = Annotated[int, Field(ge=1)]


class BenchJob(Record):
    """What to time: a model's dimensions with random weights and tokens."""

    model: str = Field("llama2-7b", description="model whose dimensions are taken (tritforge list models)")
    method: str = Field("pt-bitnet", description="method of quantization (tritforge list methods)")
    options: dict[str, float | int | str | bool | None] = Field(
        {}, description="option of the method, such as group=64 (tritforge list options)"
    )
    blocks: Count | None = Field(None, description="how many of the model's blocks run; by default all")
    steps: Count = Field(5, description="steps of distillation that run")
    windows: Count = Field(128, description="calibration windows")
    length: Annotated[int, Field(ge=2)] = Field(2048, description="tokens per window")
    device: str = Field("cpu", description="torch device of the work: cpu or cuda")
