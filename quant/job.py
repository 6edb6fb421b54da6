"""``QuantJob``: what to quantize and how; ``Texts``: its texts and windows, with every default resolved."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator

from hw.document import Record
from hw.errors import InputError
from quant.kv.formats import KvFormat, parse_kv
from quant.registry import AUTO
from quant.text import NamedText, calibration_text, evaluation_text, read_text

__all__ = ["FILE_CALIBRATION_WINDOWS", "QuantJob", "Texts", "texts_of"]

# Small defaults for the built-in texts, so that a laptop's CPU is done in minutes; a given file is used as the papers
# use it. Lengths in tokens.
_BUILTIN_LENGTH, _BUILTIN_EVALUATION, _BUILTIN_CALIBRATION = 512, 8, 16
_FILE_LENGTH = 2048
FILE_CALIBRATION_WINDOWS = 128

Count = Annotated[int, Field(ge=1)]
Length = Annotated[int, Field(ge=2)]


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
    length: Length | None = Field(
        None, description="tokens per window, of both texts; by default 2048 for files, 512 for the built-in text"
    )
    calibration_windows: Count | None = Field(
        None, description="calibration windows; by default up to 128 of a file, 16 of the built-in text"
    )
    minutes: Annotated[float, Field(gt=0, le=1e6)] | None = Field(
        None,
        description="minutes of this machine that the whole job may take, for a usable model without a GPU: "
        "pt-bitnet-full with as many steps as times measured here leave room for, kept in the manifest; by default the "
        "method's own",
    )
    kv: str = Field(
        "float",
        description="format of K and V in the cache (docs/kv.md), such as digits:4/3,rotate, int8 or kivi:2: "
        "perplexities are measured over it as well, and the recorded pass runs on it",
    )
    recorded_tokens: Length = Field(
        64, description="tokens whose integers are recorded in every linear, for the replay on the array"
    )
    seed: int = Field(0, description="seed of everything that is drawn at random")
    device: str = Field("cpu", description="torch device of the work: cpu or cuda")
    devices: str | None = Field(
        None,
        description="GPUs that share the windows of each step and the rows of each solution, such as cuda:0,cuda:1; "
        "by default --device alone",
    )
    shards: Count | None = Field(
        None,
        description="parts that the work is split into, as many as devices by default; with one device, the bits that "
        "so many devices give",
    )

    @field_validator("kv")
    @classmethod
    def _known(cls, value: str) -> str:
        form = parse_kv(value)
        return "float" if form is None else form.spelled

    @field_validator("devices")
    @classmethod
    def _different(cls, value: str | None) -> str | None:
        return None if value is None else ",".join(_parsed_devices(value))

    @property
    def device_names(self) -> list[str]:
        """Of ``devices``, or ``device`` alone."""
        return [self.device] if self.devices is None else self.devices.split(",")

    @property
    def parts(self) -> int:
        """``shards``, where they are given, else one for each device."""
        return self.shards or len(self.device_names)

    @property
    def kv_format(self) -> KvFormat | None:
        """``kv`` as a format; None: K and V stay float."""
        return parse_kv(self.kv)


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
        windows = f"up to {FILE_CALIBRATION_WINDOWS}" if self.calibration_windows is None else self.calibration_windows
        text = self.calibration
        return f"{text.name} ({text.sha256[:12]}), {windows} windows of {self.calibration_length} tokens"


def texts_of(job: QuantJob, max_positions: int) -> Texts:
    """The texts of a job for a model of a context of ``max_positions`` tokens.

    Raises:
        InputError: a text that cannot be read.
    """

    def length(path: Path | None) -> int:
        return min(max_positions, job.length or (_BUILTIN_LENGTH if path is None else _FILE_LENGTH))

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


def _parsed_devices(text: str) -> list[str]:
    """Names of ``cuda:0,cuda:1``; one GPU may be named once, and a CPU has nothing to share.

    Raises:
        InputError: what cannot be meant.
    """
    names = [name.strip() for name in text.split(",")]
    numbered = ["cuda:0" if name == "cuda" else name for name in names]
    for name in names:
        kind, _, number = name.partition(":")
        if kind != "cuda" or not (number.isdecimal() or name == "cuda"):
            way = "leave it out, --device cpu uses all cores" if kind == "cpu" else "name GPUs"
            raise InputError(f"devices must be GPUs such as cuda:0,cuda:1, not {name!r}; {way}")
    for name in numbered:
        if numbered.count(name) > 1:
            raise InputError(f"devices must be different GPUs, not {name} twice")
    return numbered
