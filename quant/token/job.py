"""What is asked of the whole token in integers: a model, its trits, number formats, text to write or to measure on."""

from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from hw.document import Record
from hw.token.attention import AttentionFormat

__all__ = ["SWEEP", "TokenFormat", "TokenJob"]

Digits = Annotated[int, Field(ge=1, le=5)]
Count = Annotated[int, Field(ge=1)]


class TokenFormat(Record):
    """Number formats of a whole token that are a choice; the others are fixed (``hw.token``)."""

    key_digits: Digits = Field(4, description="balanced-ternary digits of K in the cache")
    value_digits: Digits = Field(3, description="balanced-ternary digits of V in the cache")
    rotate: bool = Field(True, description="rotate q and k by the Walsh-Hadamard transform of a head")
    block: Count = Field(64, description="tokens per block of the softmax")
    table_digits: Digits = Field(
        4,
        description="balanced-ternary digits of the embedding table and of the head's; by default those that a run "
        "trained them in, else 4",
    )

    @property
    def attention(self) -> AttentionFormat:
        """The part that attention reads."""
        return AttentionFormat(self.key_digits, self.value_digits, self.rotate, self.block)


# What --sweep measures besides the job's own format: digits of K and V, WHT or not, another block.
SWEEP: tuple[dict[str, object], ...] = (
    {"key_digits": 4, "value_digits": 3},
    {"key_digits": 5, "value_digits": 5},
    {"key_digits": 4, "value_digits": 4},
    {"key_digits": 3, "value_digits": 3},
    {"key_digits": 4, "value_digits": 4, "rotate": False},
    {"key_digits": 3, "value_digits": 3, "rotate": False},
    {"key_digits": 4, "value_digits": 3, "block": 1024},
)


class TokenJob(Record):
    """A model quantized by a method (cached as ``tritforge quant`` does), then run in integers alone."""

    model: str = Field(description="shipped name, Hugging Face directory or hub id, .gguf or llama2.c .bin file")
    method: str = Field("digits", description="quantization method of the decoder linears")
    options: dict[str, float | int | str | bool | None] = Field(
        {}, description="option of the method, such as digits=2 (tritforge list options)"
    )
    checkpoint: Path | None = Field(
        None, description="folder of a finished run whose trits are taken, instead of --method and --options"
    )
    form: TokenFormat = Field(TokenFormat(), description="number formats")
    prompt: str = Field("Once upon a time", description="text to go on from")
    prompt_ids: tuple[int, ...] | None = Field(None, description="token ids to go on from, instead of a text")
    tokens: Annotated[int, Field(ge=0)] = Field(32, description="greedy tokens to write")
    text: Path | None = Field(None, description="text to measure perplexity on; by default it is not measured")
    windows: Count | None = Field(None, description="windows of the text; by default all of them")
    length: Annotated[int, Field(ge=2)] = Field(512, description="tokens per window")
    calib: Path | None = Field(
        None, description="text to calibrate on; by default a slice of the stdlib's pydoc_data.topics"
    )
    calibration_windows: Count = Field(2, description="windows that the shifts of a layer are calibrated on")
    workers: Count = Field(1, description="processes that share the windows of the text; the figures stay the same")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.checkpoint is not None and self.model_fields_set & {"method", "options"}:
            raise ValueError("--checkpoint already says whose trits are taken; leave --method and --options out")
        return self
