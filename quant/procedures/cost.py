"""``RunCost``: what quantizing took, kept beside the manifest, which it is no part of: equal jobs have equal manifests.

Readable without torch.
"""

import resource
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hw.artifact import write_artifact
from hw.document import Record, read_record

__all__ = ["RunCost", "finished_blocks", "host_peak_bytes", "read_cost", "write_cost"]

_SCHEMA, _VERSION = "tritforge.cost", 1
_REMEDY = "remove it: the run is whole without it"

Seconds = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=0)]


class RunCost(Record):
    """The process that wrote a run's packed weights, from loading to recording, or from where its minutes began.

    ``finished_blocks``: that an earlier process had left; ``trained_seconds``: of steps of reconstruction and
    distillation, where a number of minutes was given for them. Peaks: resident memory of the process, and what torch
    held on the device, 0 on a CPU.
    """

    seconds: Seconds
    quantize_seconds: Seconds  # of ``seconds``: the method carried over the blocks
    trained_seconds: Seconds | None = None
    finished_blocks: Count
    host_bytes: Count
    device_bytes: Count
    device: str

    @property
    def described(self) -> str:
        """For the screen."""
        kept = f", {self.finished_blocks} blocks kept from before" if self.finished_blocks else ""
        trained = "" if self.trained_seconds is None else f", {self.trained_seconds / 60:.1f} of them training"
        peak = f", {self.device_bytes / 2**30:.1f} GiB of {self.device}" if self.device_bytes else ""
        return f"{self.seconds / 60:.1f} min{trained}{kept}; at most {self.host_bytes / 2**30:.1f} GiB of memory{peak}"


def host_peak_bytes() -> int:
    """Peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def finished_blocks(parts: Path) -> int:
    """Blocks whose checkpoints are kept in the folder of a run under way."""
    return len({path.name.partition(".")[0] for path in parts.glob("[0-9]*.safetensors")})


def read_cost(folder: Path) -> RunCost | None:
    """Of a finished run; None where nothing says.

    Raises:
        InputError: a damaged file.
    """
    path = Path(folder) / "cost.json"
    return read_record(path, _SCHEMA, _VERSION, RunCost, _REMEDY) if path.is_file() else None


def write_cost(folder: Path, cost: RunCost) -> None:
    """Keep it."""
    write_artifact(Path(folder) / "cost.json", _SCHEMA, _VERSION, cost.model_dump(), {})
