"""``ExportJob``: which finished run to write, and as what; readable without torch."""

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field

from hw.document import Record

__all__ = ["FORMATS", "ExportJob", "Exported"]

ExportFormat = Literal["hf", "bitnet", "gguf-tq2_0", "gguf-tq1_0", "gguf-f16", "gguf-q8_0"]

FORMATS: tuple[str, ...] = get_args(ExportFormat)


class ExportJob(Record):
    """What to export, and as what."""

    checkpoint: Path = Field(description="folder of a finished run, with manifest.json and ternary.safetensors")
    format: ExportFormat = Field(
        description="what to write: hf (dense float32, any method) or bitnet (one scale per tensor) for transformers; "
        "gguf-tq2_0 or gguf-tq1_0 (exact trits, groups of 256 or a multiple), gguf-f16 or gguf-q8_0 (rounded, any "
        "method) for llama.cpp"
    )
    out: Path = Field(description="new folder to write to")
    model: str | None = Field(
        None, description="the model that was quantized; by default where the run found it, for embedding and tokenizer"
    )


class Exported(Record):
    """What was written."""

    folder: Path
    file: str  # with the weights
    file_bytes: int
    linear_bytes: int  # of the decoder linears in it
    true_bits: float  # per quantized weight, in the run's own packed checkpoint
    accuracy: str  # what is exact and what is rounded, in words
