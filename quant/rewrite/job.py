"""``RewriteJob``: what to rewrite a model's weights to; readable without torch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from hw.document import Record

__all__ = ["RewriteJob"]

Count = Annotated[int, Field(ge=1)]
Exponent = Annotated[float, Field(ge=0, le=1)]


class RewriteJob(Record):
    """What to rewrite and how: ``rotate`` is a seed, the others are exponents; one of them is given.

    ``balance`` B: ``s = mean|x|^B`` (AWQ); ``smooth`` A: ``s = mean|x|^A / rms(w)^(1 - A)`` (SmoothQuant, with means
    for its maxima).
    """

    model: str = Field(description="shipped name, Hugging Face directory or hub id, .gguf or llama2.c .bin file")
    out: Path = Field(description="new folder, a Hugging Face directory")
    rotate: Annotated[int, Field(ge=0, lt=2**63)] | None = Field(
        None, description="rotate the residual stream and values by random Hadamard matrices drawn from this seed"
    )
    balance: Exponent | None = Field(
        None, description="scale input channels by mean|x| to this power, after a rotation if both are given"
    )
    smooth: Exponent | None = Field(
        None, description="or scale them by mean|x|^A / rms(w)^(1 - A), w: the channel's weights, with this A"
    )
    balance_cache: Exponent | None = Field(
        None, description="scale channels of K and V by their largest magnitude to this power, for caches of few bits"
    )
    calib: Path | None = Field(
        None, description="text that channels are measured on; by default that which quantization calibrates on"
    )
    calibration_windows: Count = Field(16, description="windows of that text")
    length: Annotated[int, Field(ge=2)] = Field(512, description="tokens per window, at most the model's context")
    device: str = Field("cpu", description="torch device of the work: cpu or cuda")
