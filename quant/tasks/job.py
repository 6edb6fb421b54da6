"""``TaskJob`` and ``SwapJob``: which run to tune to which text, and which task to put on it; readable without torch."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hw.document import Record

__all__ = ["SwapJob", "TaskJob"]

Count = Annotated[int, Field(ge=1)]
Length = Annotated[int, Field(ge=2)]


class TaskJob(Record):
    """What to tune, on what, and for how long."""

    checkpoint: Path = Field(description="folder of a finished run, with manifest.json and ternary.safetensors")
    calib: Path = Field(description="text of the task, to be tuned on")
    out: Path = Field(description="file of the task vector to write, such as law.safetensors")
    model: str | None = Field(
        None, description="the model that was quantized; by default where the run found it, for embedding and tokenizer"
    )
    epochs: Annotated[int, Field(ge=0)] = Field(3, description="times that the text is gone through")
    rate: Annotated[float, Field(gt=0)] = Field(0.002, description="peak learning rate, in shares of a row's scale")
    tokens_per_step: Count = Field(16384, description="tokens of a step")
    calibration_windows: Count | None = Field(None, description="windows of the text; by default all of it")
    length: Length = Field(512, description="tokens per window, at most the model's context")
    calibrated: Literal["A8", "A16"] = Field("A8", description="activations while tuning: int8 or float")
    seed: int = Field(0, description="seed of the windows' order")
    device: str = Field("cpu", description="torch device of the work: cpu or cuda")


class SwapJob(Record):
    """Which run gets which task, and on what the result is measured."""

    checkpoint: Path = Field(description="folder of the finished run that the task was tuned on")
    task: Path = Field(description="file of a task vector, which tritforge task wrote")
    out: Path = Field(description="new folder: a run like any other, for sim, replay, integer and export")
    model: str | None = Field(
        None, description="the model that was quantized; by default where the run found it, for embedding and tokenizer"
    )
    text: Path | None = Field(
        None, description="text that perplexities are measured on; by default a slice of the stdlib's pydoc_data.topics"
    )
    windows: Count | None = Field(
        None, description="evaluated windows; by default all of a file, 8 of the built-in text"
    )
    length: Length | None = Field(
        None, description="tokens per window; by default 2048 for files, 512 for the built-in text"
    )
    recorded_tokens: Length = Field(64, description="tokens whose integers are recorded for the replay")
    device: str = Field("cpu", description="torch device of the work: cpu or cuda")
