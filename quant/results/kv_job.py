"""``KvJob``: formats of K and V to be measured on a model and on finished runs; readable without torch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from hw.document import Record
from quant.kv.formats import KvFormat, parse_kv

__all__ = ["SWEEP", "KvJob"]

# What is measured where no formats are named: the array's digits, and the rivals.
SWEEP = (
    *("digits:5", "digits:5,rotate", "digits:4", "digits:4,rotate", "digits:3", "digits:3,rotate"),
    *(
        "digits:4/3,rotate",
        "digits:4/3,rotate,levels=127",
        "digits:3/2,rotate",
        "int8",
        "wkvquant:4",
        "kivi:4",
        "kivi:2",
    ),
)

Count = Annotated[int, Field(ge=1)]


class KvJob(Record):
    """A model, its weights, and formats of K and V; the linears always have int8 activations (A8)."""

    model: str = Field(description="shipped name, Hugging Face directory or hub id, .gguf or llama2.c .bin file")
    kv: tuple[str, ...] = Field(
        SWEEP,
        description="format of K and V (docs/kv.md), such as digits:4/3,rotate or kivi:2; by default all of a sweep",
    )
    runs: tuple[Path, ...] = Field(
        (), description="finished run of the model (build/models/MODEL/RUN), whose trits are measured as well"
    )
    own_weights: bool = Field(True, description="measure the model's own weights, before any run's")
    text: Path | None = Field(
        None, description="text that perplexities are measured on; by default a slice of the stdlib's pydoc_data.topics"
    )
    windows: Count | None = Field(
        None, description="evaluated windows; by default all of a file, 8 of the built-in text"
    )
    length: Annotated[int, Field(ge=2)] | None = Field(
        None, description="tokens per window; by default 2048 for files, 512 for the built-in text"
    )
    device: str = Field("cpu", description="torch device of the work: cpu or cuda")

    @field_validator("kv")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for text in value:
            parse_kv(text)
        return value

    @property
    def formats(self) -> list[KvFormat]:
        """The formats, each once; float attention is measured before all of them."""
        found = (parse_kv(text) for text in self.kv)
        return list(dict.fromkeys(one for one in found if one is not None))
