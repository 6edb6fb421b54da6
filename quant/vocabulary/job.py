"""``TableJob`` and ``CutJob``: tables in ternary digits or of fewer entries, training; readable without torch."""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from hw.document import Record
from quant.job import QuantJob
from quant.methods.method import TableRoles

__all__ = ["CutJob", "TableJob", "VocabularyJob"]

Count = Annotated[int, Field(ge=1)]


class VocabularyJob(Record):
    """What both have: a model, training towards it, and texts."""

    model: str = Field(description="shipped name, Hugging Face directory or hub id, .gguf or llama2.c .bin file")
    steps: Annotated[int, Field(ge=0)] = Field(
        1500, description="steps of distillation, which train the tables and the norms; 0: rounded or cut, not trained"
    )
    norm_rate: Annotated[float, Field(gt=0)] = Field(0.0001, description="peak learning rate of the norms' gains")
    body_rate: Annotated[float, Field(ge=0)] = Field(
        0.0,
        description="peak learning rate of the decoder's linears, relative to the root mean square of each one's "
        "weights; they stay float16. 0: they stay as they are",
    )
    tokens_per_step: Count = Field(8192, description="tokens per step of distillation")
    generated_windows: Annotated[int, Field(ge=0)] = Field(
        1024, description="windows of 512 tokens that the model writes, to learn from beside the calibration text"
    )
    real_share: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25, description="share of each step's windows that are calibration text"
    )
    learned_length: Annotated[int, Field(ge=2)] = Field(2048, description="tokens per window of distillation")
    text: Path | None = Field(
        None, description="text that perplexities are measured on; by default a slice of the stdlib's pydoc_data.topics"
    )
    windows: Count | None = Field(
        None, description="evaluated windows; by default all of a file, 8 of the built-in text"
    )
    length: Annotated[int, Field(ge=2)] | None = Field(
        None, description="tokens per window, of both texts; by default 2048 for files, 512 for the built-in text"
    )
    calib: Path | None = Field(
        None, description="text to calibrate on; by default another slice of the stdlib's pydoc_data.topics"
    )
    calibration_windows: Count | None = Field(
        None, description="calibration windows; by default up to 128 of a file, 16 of the built-in text"
    )
    seed: int = Field(0, description="seed of everything that is drawn at random")
    device: str = Field("cpu", description="torch device of the work: cpu or cuda")

    @property
    def texts(self) -> QuantJob:
        """The part that names texts and windows."""
        shared = ("model", "text", "windows", "length", "calib", "calibration_windows", "seed", "device")
        return QuantJob(**{name: getattr(self, name) for name in shared})

    @property
    def trains_body(self) -> bool:
        """Whether the decoder's linears are trained with the tables."""
        return self.body_rate > 0 and self.steps > 0


class TableJob(VocabularyJob):
    """Embedding and head of a model in digits, while the decoder's linears stay float, trained too or as they are."""

    digits: Annotated[int, Field(ge=1, le=4)] = Field(1, description="balanced-ternary digits of a table's entry")
    roles: TableRoles = Field("both", description="which tables: embedding, head, or both")
    rate: Annotated[float, Field(gt=0)] = Field(0.004, description="peak learning rate of latent codes, in codes")
    soften: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="share of the steps over which entries harden from clamped latent values to their codes"
    )

    @property
    def identity(self) -> dict[str, object]:
        """All that changes the table, but for the model and the calibration text."""
        named = ("text", "windows", "length", "calib", "calibration_windows", "model", "device")
        return self.model_dump(exclude=set(named), mode="json")


class CutJob(VocabularyJob):
    """A model with fewer entries in its vocabulary, healed by training, as a new folder."""

    entries: Count = Field(description="entries that are left of the vocabulary")
    out: Path = Field(description="new folder, a Hugging Face directory, of the model with that vocabulary")
