"""``quantize``: from a model's name to a folder with packed trits, manifest and recording, cached by hash.

Looking at what is cached needs no torch; only work does.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hw.artifact import sha256_json
from hw.document import Record
from quant.manifest import Manifest, read_manifest
from quant.native.detect import method_for
from quant.recording import Recording, read_recording
from quant.registry import AUTO, NATIVE, check_method
from quant.source import Source, resolve, weights_path, weights_sha256
from quant.text import NamedText, calibration_text, evaluation_text, read_text
from quant.weights.checkpoint import Checkpoint

__all__ = ["MODELS_FOLDER", "Progress", "QuantJob", "Quantized", "quantize"]

MODELS_FOLDER = Path("build") / "models"

# Raised when the same options give other integers than before.
_ALGORITHM = 4

# Small defaults for the built-in texts, so that a laptop's CPU is done in minutes; a given file is used as the
# papers use it.
_BUILTIN_LENGTH, _BUILTIN_EVALUATION, _BUILTIN_CALIBRATION = 512, 8, 16
_FILE_LENGTH, _FILE_CALIBRATION = 2048, 128

Progress = Callable[[str, int, int], None]  # stage, done, total
Count = Annotated[int, Field(ge=1)]


class QuantJob(Record):
    """What to quantize and how. ``options`` are the method's own; windows and lengths in tokens."""

    model: str = Field(description="shipped name, Hugging Face directory or hub id, .gguf or llama2.c .bin file")
    method: str = Field(
        AUTO,
        description="method of quantization (tritforge list methods); by default pt-bitnet, or native for a checkpoint "
        "that is ternary already",
    )
    options: dict[str, float | int | str | bool | None] = Field(
        {}, description="option of the method, such as group=64 (tritforge list options)"
    )
    text: Path | None = Field(
        None, description="text that perplexities are measured on; by default a slice of the stdlib's pydoc_data.topics"
    )
    more_texts: tuple[Path, ...] = Field((), description="further text that perplexities are measured on")
    calib: Path | None = Field(
        None, description="text to calibrate on; by default another slice of the stdlib's pydoc_data.topics"
    )
    prose: Path | None = Field(
        None, description="text whose sentences' last words are to be predicted; by default that is not measured"
    )
    windows: Count | None = Field(
        None, description="evaluated windows; by default all of a file, 8 of the built-in text"
    )
    length: Annotated[int, Field(ge=2)] | None = Field(
        None, description="tokens per window, of both texts; by default 2048 for files, 512 for the built-in text"
    )
    calibration_windows: Count | None = Field(
        None, description="calibration windows; by default up to 128 of a file, 16 of the built-in text"
    )
    recorded_tokens: Annotated[int, Field(ge=2)] = Field(
        64, description="tokens whose integers are recorded in every linear, for the replay on the array"
    )
    seed: int = Field(0, description="seed of everything that is drawn at random")
    device: str = Field("cpu", description="torch device of the work: cpu or cuda")


class Quantized(Record):
    """A finished folder."""

    folder: Path

    @property
    def manifest(self) -> Manifest:
        """How it was made, its bits and its perplexities."""
        return read_manifest(self.folder / "manifest.json")

    @property
    def checkpoint(self) -> Checkpoint:
        """Packed trits and scales."""
        return Checkpoint(self.folder / "ternary.safetensors")

    @property
    def recording(self) -> Recording:
        """Integers of a real forward pass."""
        return read_recording(self.folder)


class Texts(Record):
    """Calibration and evaluation of a job, with every default resolved."""

    calibration: NamedText
    calibration_windows: int | None  # None: as many as the text has, at most the papers' 128
    calibration_length: int
    evaluation: NamedText
    evaluation_windows: int | None  # None: all
    evaluation_length: int
    more: tuple[NamedText, ...]  # evaluated like a given file: all windows
    prose: NamedText | None

    @property
    def prose_name(self) -> str:
        """What the manifest's last-word accuracies were measured on."""
        return "" if self.prose is None else f"{self.prose.name} ({self.prose.sha256[:12]})"

    @property
    def evaluation_name(self) -> str:
        """What the manifest's perplexities were measured on; another name means measuring again."""
        return self.name_of(self.evaluation)

    def name_of(self, text: NamedText) -> str:
        """One evaluated text, with the windows taken of it."""
        windows = "all" if self.evaluation_windows is None else self.evaluation_windows
        return f"{text.name} ({text.sha256[:12]}), {windows} windows of {self.evaluation_length} tokens"

    @property
    def calibration_name(self) -> str:
        """What the weights were calibrated on."""
        windows = f"up to {_FILE_CALIBRATION}" if self.calibration_windows is None else self.calibration_windows
        text = self.calibration
        return f"{text.name} ({text.sha256[:12]}), {windows} windows of {self.calibration_length} tokens"


def quantize(job: QuantJob, progress: Progress | None = None) -> Quantized:
    """Quantize, evaluate and record, or return the folder where an earlier call did.

    An interrupted job goes on after the last finished block; a job that differs only in the evaluated text is
    evaluated and recorded again, not quantized again.

    Raises:
        InputError: an unknown name, damaged weights, too short a text: one line with the way out.
    """
    check_method(job.method)
    source = resolve(job.model)
    path = weights_path(source)
    job = job.model_copy(update={"method": method_for(job.method, path)})
    texts = _texts(job, source)
    folder = _folder(job, source, weights_sha256(path), texts)
    if not _is_complete(folder, texts):
        from quant.quantizer import run_job  # imports torch

        run_job(job, source, texts, folder, MODELS_FOLDER / _file_name(source.name), progress or (lambda *_: None))
        shutil.rmtree(folder / "parts", ignore_errors=True)
    return Quantized(folder=folder)


def _texts(job: QuantJob, source: Source) -> Texts:
    limit = source.shape.max_positions

    def length(path: Path | None) -> int:
        return min(limit, job.length or (_BUILTIN_LENGTH if path is None else _FILE_LENGTH))

    return Texts(
        calibration=calibration_text(job.calib),
        calibration_windows=job.calibration_windows or (_BUILTIN_CALIBRATION if job.calib is None else None),
        calibration_length=length(job.calib),
        evaluation=evaluation_text(job.text),
        evaluation_windows=job.windows or (_BUILTIN_EVALUATION if job.text is None else None),
        evaluation_length=length(job.text),
        more=tuple(read_text(path) for path in job.more_texts),
        prose=None if job.prose is None else read_text(job.prose),
    )


def _folder(job: QuantJob, source: Source, weights: str, texts: Texts) -> Path:
    """Everything that changes the integers, and nothing else, is in the hash."""
    key = sha256_json(
        {
            "algorithm": _ALGORITHM,
            "weights": weights,
            "method": job.method,
            "options": dict(job.options),
            "calibration": None if job.method == NATIVE else texts.calibration_name,
            "seed": job.seed,
        }
    )
    return MODELS_FOLDER / _file_name(source.name) / f"{job.method}-{key[:12]}"


def _is_complete(folder: Path, texts: Texts) -> bool:
    if not (folder / "manifest.json").is_file() or not (folder / "recording.json").is_file():
        return False
    manifest = read_manifest(folder / "manifest.json")
    wanted = {texts.name_of(text) for text in texts.more}
    return (
        manifest.evaluation == texts.evaluation_name
        and wanted <= set(manifest.more_perplexity)
        and texts.prose_name in ("", manifest.last_word_text)
    )


def _file_name(model: str) -> str:
    return model.replace("/", "--")
