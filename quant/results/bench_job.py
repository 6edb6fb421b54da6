"""``BenchJob``: what to time of quantization; readable without torch."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from hw.document import Record

__all__ = ["BenchJob"]

Count = Annotated[int, Field(ge=1)]


class BenchJob(Record):
    """What to time: a model's dimensions with random weights and tokens.

    Raises:
        ValueError: what needs files, without them.
    """

    model: str = Field("llama2-7b", description="model whose dimensions are taken (tritforge list models)")
    method: str = Field("pt-bitnet", description="method of quantization (tritforge list methods)")
    options: dict[str, float | int | str | bool | None] = Field(
        {}, description="option of the method, such as group=64 (tritforge list options)"
    )
    blocks: Count | None = Field(None, description="how many of the model's blocks run; by default all")
    steps: Count = Field(5, description="steps of distillation that run")
    windows: Count = Field(128, description="calibration windows")
    length: Annotated[int, Field(ge=2)] = Field(2048, description="tokens per window")
    files: Path | None = Field(
        None,
        description="new folder for the random weights: the whole job then runs from these files as quant does, "
        "evaluation and recording included, instead of parts of it; best in memory (/dev/shm)",
    )
    kill_after: Count | None = Field(
        None, description="with files: kill the job once so many blocks are finished, and start it again"
    )
    compare: bool = Field(False, description="with files: run the job once more without a kill, and compare the bits")
    device: str = Field("cpu", description="torch device of the work: cpu or cuda")

    @model_validator(mode="after")
    def _needs_files(self) -> Self:
        for name in ("kill_after", "compare"):
            if getattr(self, name) and self.files is None:
                raise ValueError(f"{name} must be left out without files, the folder that a whole job runs from")
        return self
