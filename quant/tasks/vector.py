"""``TaskVector``: a float16 factor for every output of every linear, 2 bytes per row, and the run that it belongs to.

The trits of a run are its weight image; what multiplies a row's sum where scales are applied is all that a task
changes, so a device holds one image and as many tasks as it likes.

Ref: Kim et al., PEQA, arXiv 2305.14152, section 3: tasks are switched by swapping scales, integers stay.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hw.artifact import atomic_path
from hw.errors import InputError
from quant.weights.checkpoint import Checkpoint

if TYPE_CHECKING:
    from quant.weights.solution import LinearSolution

__all__ = ["TaskVector", "read_task", "scaled", "write_task"]

_KEY = "tritforge.task.1"
_REMEDY = "make it again: tritforge task RUN --calib TEXT --out FILE"


class TaskVector(NamedTuple):
    """``factors``: float16 (n,) by layer and kind; ``run``: SHA-256 of its ternary.safetensors; ``text``: its name."""

    factors: dict[tuple[int, str], np.ndarray]
    run: str
    text: str

    @property
    def swapped_bytes(self) -> int:
        """What a device loads to change the task."""
        return sum(factor.nbytes for factor in self.factors.values())


def write_task(path: Path, vector: TaskVector) -> None:
    """Write a task vector, whole or not at all."""
    tensors = {f"layers.{layer}.{kind}": value for (layer, kind), value in vector.factors.items()}
    facts = {"run": vector.run, "text": vector.text}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: json.dumps(facts)})


def read_task(path: Path, checkpoint: Checkpoint, run: str) -> TaskVector:
    """The task vector of a run whose ternary.safetensors, with SHA-256 ``run``, is ``checkpoint``.

    Raises:
        InputError: missing, damaged, or of another run.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            facts = json.loads((file.metadata() or {})[_KEY])
            its_run, text = str(facts["run"]), str(facts["text"])
            if its_run != run:  # whose linears may well be others
                ours = f"{checkpoint.path} ({run[:12]})"
                raise InputError(f"{path}: must be a task of {ours}, not of the run {its_run[:12]}; {_REMEDY}")
            found = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
        return TaskVector(_factors(found, checkpoint), its_run, text)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; {_REMEDY}") from None
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: must be a whole task vector ({reason}); {_REMEDY}") from None


def scaled(solution: "LinearSolution", factor: np.ndarray) -> "LinearSolution":
    """The linear with its rows multiplied: scales, offsets, outliers and a correction, the codes as they are.

    ``factor``: (n,). Stored numbers are rounded to float16 again.

    Raises:
        InputError: one scale for the whole tensor, or a number that float16 does not hold.
    """
    import torch

    from quant.weights.solution import as_stored

    if solution.scale_kind == "tensor":
        raise InputError(
            "rows must have scales of their own to be tuned; one scale per tensor is shared by all of them"
        )
    rows = torch.from_numpy(np.asarray(factor, np.float32)).to(solution.scales.device)
    if solution.scale_kind == "pow2":
        largest = as_stored(solution.scales[0].float().amax(1) * rows)
        scales = (largest[:, None] * torch.exp2(-solution.exponents().float()))[None]
    else:
        scales = solution.scales.float() * rows[None, :, None]
    changed: dict[str, object] = {"scales": scales.half()}
    if solution.offsets is not None:
        changed["offsets"] = (solution.offsets.float() * rows[:, None]).half()
    if solution.outliers is not None:
        changed["outliers"] = replace(solution.outliers, scale=(solution.outliers.scale.float() * rows).half())
    if solution.low_rank is not None:
        changed["low_rank"] = replace(solution.low_rank, left=(solution.low_rank.left.float() * rows[:, None]).half())
    return replace(solution, **changed)


def _factors(found: Mapping[str, np.ndarray], checkpoint: Checkpoint) -> dict[tuple[int, str], np.ndarray]:
    """By layer and kind, each as long as its linear has outputs.

    Raises:
        ValueError: others than those.
    """
    wanted = {f"layers.{layer}.{kind}": (layer, kind) for layer, kind in checkpoint}
    if set(wanted) != set(found):
        raise ValueError(f"linears must be the {len(wanted)} of the run, not {len(found)} others")
    for name, value in found.items():
        shape = (checkpoint.headers[wanted[name]].n,)
        if value.dtype != np.float16 or value.shape != shape or not np.isfinite(value).all():
            raise ValueError(f"{name} must be finite float16 {shape}, not {value.dtype} {value.shape}")
    return {wanted[name]: found[name] for name in wanted}
