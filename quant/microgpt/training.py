"""How microGPT is trained: what a command may choose."""

from typing import Annotated

from pydantic import Field

from hw.document import Record

__all__ = ["Training"]


class Training(Record):
    """How a model is trained."""

    steps: Annotated[int, Field(ge=1, le=100_000)] = Field(1500, description="steps of training")
    batch: Annotated[int, Field(ge=1, le=4096)] = Field(64, description="names per step")
    rate: Annotated[float, Field(gt=0, le=1)] = Field(0.005, description="largest learning rate of AdamW")
    seed: Annotated[int, Field(ge=0)] = Field(0, description="seed of first weights and of the names drawn")
