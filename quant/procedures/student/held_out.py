"""What training made is kept only where it is nearer to full precision on windows that nothing was learned from."""

import logging
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from torch import Tensor

from hw.errors import InputError
from quant.methods.method import ModelOptions
from quant.procedures.latent import BlockTensors
from quant.procedures.student.tables import Tables

__all__ = ["Trained", "check_held_out", "nearer"]

_log = logging.getLogger(__name__)

Kept = TypeVar("Kept")


def check_held_out(options: ModelOptions, windows: Tensor) -> None:
    """Refuse to hold out all that there is.

    Raises:
        InputError: with how many windows there are.
    """
    if options.held_out >= len(windows):
        raise InputError(
            f"option held_out must be below the {len(windows)} calibration windows, not {options.held_out}; give more "
            "--calibration-windows"
        )


def nearer(before: Kept, after: Kept, error: Callable[[Kept], float], where: str) -> Kept:
    """The one of less error on windows that nothing was learned from."""
    errors = error(before), error(after)
    _log.info("%s: on held-out windows %.5f before training, %.5f after", where, *errors)
    return after if errors[1] < errors[0] else before


class Trained(NamedTuple):
    """All that distillation trains."""

    student: list[BlockTensors]
    last_norm: Tensor
    tables: Tables | None

    def copied(self) -> "Trained":
        """The same in memory of its own."""
        tables = self.tables and self.tables.copied()
        return Trained([block.copied() for block in self.student], self.last_norm.detach().clone(), tables)

    def take(self, other: "Trained") -> None:
        """Put the values of ``other`` in the place of these."""
        for one, two in zip(self.tensors(), other.tensors(), strict=True):
            one.data.copy_(two)

    def tensors(self) -> list[Tensor]:
        """Everything that trains."""
        found = [tensor for block in self.student for part in block.trained() for tensor in part]
        return [*found, self.last_norm, *(self.tables.trained() if self.tables else ())]
