"""``Plan``: the options of training that a number of minutes buys, kept so that a later call trains the same steps.

Nothing here needs torch.
"""

import math
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hw.artifact import sha256_json, write_artifact
from hw.document import Record, read_record
from hw.errors import InputError
from quant.job import QuantJob
from quant.registry import AUTO

__all__ = [
    "METHOD",
    "Plan",
    "Times",
    "base_options",
    "block_steps",
    "plan_for",
    "plan_path",
    "read_plan",
    "windows_of",
    "write_plan",
]

METHOD = "pt-bitnet-full"
_CALIBRATION_TOKENS = 32768  # where a job does not say how many windows: what a CPU goes over in minutes
_HELD_OUT = 4  # windows of them

_SCHEMA, _VERSION = "tritforge.plan", 2
_KEPT_BACK = 0.05  # share of the minutes: what was measured once does not take as long every time
_MOST_EPOCHS = 12  # of reconstruction, the option's default: more would learn the text by heart
_LEAST_STEPS = 20  # of distillation: fewer are not worth their start
_PLANNED = ("epochs", "block_steps", "distill_steps")
_BASE: dict[str, float | int | str | bool | None] = {
    "window": 1,
    "generated_windows": 0,
    "real_share": 1.0,
    "tables": "kept",
    "distill_length": 512,
    "block_tokens_per_step": 512,
    "distill_tokens_per_step": 512,
    "held_out": _HELD_OUT,
}

Seconds = Annotated[float, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]


class Times(Record):
    """Measured on the machine at hand.

    ``block_step_s``: a step of one block's reconstruction. What comes whatever is trained: ``load_s``; ``block_s`` of
    one block, closed form, checks on held-out windows, packing and recording; ``evaluation_s`` before and after. Of
    distillation, where there is time for it: a step of the whole model, and ``model_s`` beside its steps.
    """

    block_step_s: Positive
    load_s: Seconds
    block_s: Seconds
    evaluation_s: Seconds
    model_step_s: Positive | None = None
    model_s: Seconds = 0.0


class Plan(Record):
    """What the minutes were turned into; ``planning_s`` of them went by before there was a plan."""

    minutes: Positive
    times: Times
    planning_s: Seconds
    calibration_windows: Annotated[int, Field(ge=1)]
    block_steps: Annotated[int, Field(ge=0)]
    distill_steps: Annotated[int, Field(ge=0)]

    @property
    def budget(self) -> dict[str, float]:
        """As the manifest records it."""
        return {"minutes": self.minutes, "planning_s": self.planning_s, **self.times.model_dump(exclude_none=True)}

    def options(self, given: dict[str, float | int | str | bool | None]) -> dict[str, float | int | str | bool | None]:
        """All options of the method: those that were given go before those of a budget."""
        return {**_BASE, **given, "block_steps": self.block_steps, "distill_steps": self.distill_steps}


def windows_of(job: QuantJob, length: int, available: int) -> int:
    """Calibration windows of ``length`` tokens: as many as a job says, else a budget's, as far as the text has them."""
    if job.calibration_windows is not None:
        return job.calibration_windows
    return max(1, min(available // length, max(2 * _HELD_OUT, _CALIBRATION_TOKENS // length)))


def base_options(job: QuantJob) -> dict[str, float | int | str | bool | None]:
    """Options of a job with a budget, without those that the minutes decide.

    Raises:
        InputError: another method, or an option that the minutes decide.
    """
    if job.method not in (AUTO, METHOD):
        raise InputError(f"minutes must be left out with method {job.method!r}: {METHOD} alone is trained for so long")
    for name in _PLANNED:
        if name in job.options:
            raise InputError(f"option {name!r} must be left out with minutes, which decide it, not {job.options[name]}")
    return {**_BASE, **job.options}


def block_steps(minutes: float, times: Times, planning_s: float, blocks: int, per_epoch: int) -> tuple[int, float]:
    """Steps of each block's reconstruction as far as they help, and seconds that are left for the whole model.

    ``planning_s``: gone by already; ``per_epoch``: steps of one block's reconstruction.

    Raises:
        InputError: too few minutes for all that must be done and a single step of each block.
    """
    fixed = planning_s + times.load_s + times.evaluation_s + blocks * times.block_s
    seconds, each = (1 - _KEPT_BACK) * 60 * minutes - fixed, blocks * times.block_step_s
    most = _MOST_EPOCHS * per_epoch
    taken = min(most, max(0, int(seconds / each)))
    if not taken:
        least = (fixed + each) / (1 - _KEPT_BACK) / 60
        raise InputError(
            f"minutes must be at least {_enough(least):g} here, not {minutes:g}: loading, measuring, the closed form "
            f"of {blocks} blocks and recording take {_about(fixed / 60):g}, a step of each block "
            f"{_about(each / 60):g}; give more, or fewer --calibration-windows or --windows"
        )
    return taken, seconds - taken * each if taken == most else 0.0


def _enough(minutes: float) -> float:
    """Two digits that are not below ``minutes``; from 100 on whole ones."""
    step = min(1.0, 10.0 ** (math.floor(math.log10(minutes)) - 1))
    return math.ceil(minutes / step) * step


def _about(minutes: float) -> float:
    return float(f"{minutes:.2g}")


def plan_for(
    minutes: float, times: Times, planning_s: float, blocks: int, steps_per_epoch: int, windows: int
) -> Plan:  # fmt: skip
    """Steps of reconstruction, the same for each block, and of distillation where time is left; see ``block_steps``.

    ``windows``: of the calibration text.

    Raises:
        InputError: too few minutes.
    """
    taken, left_s = block_steps(minutes, times, planning_s, blocks, steps_per_epoch)
    steps = int((left_s - times.model_s) / times.model_step_s) if times.model_step_s else 0
    return Plan(
        minutes=minutes,
        times=times,
        planning_s=planning_s,
        calibration_windows=windows,
        block_steps=taken,
        distill_steps=steps if steps >= _LEAST_STEPS else 0,
    )


def plan_path(folder: Path, job: QuantJob, weights_sha256: str, calibration: str) -> Path:
    """Where the plan of such a job is kept, in the folder of the model."""
    key = {"weights": weights_sha256, "calibration": calibration, "options": base_options(job), "seed": job.seed}
    key |= {"minutes": job.minutes, "device": job.device, "plan": _VERSION}
    return folder / f"plan-{sha256_json(key)[:12]}.json"


def read_plan(path: Path) -> Plan | None:
    """The plan of an earlier call, or None.

    Raises:
        InputError: a damaged file.
    """
    if not path.is_file():
        return None
    return read_record(path, _SCHEMA, _VERSION, Plan, f"remove it to measure again: {path}")


def write_plan(path: Path, plan: Plan) -> None:
    """Keep a plan."""
    write_artifact(path, _SCHEMA, _VERSION, plan.model_dump(), {})
