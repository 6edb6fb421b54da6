"""microGPT's program: a trained checkpoint for a small machine whose memory is on the chip."""

from pathlib import Path
from typing import TYPE_CHECKING

from hw.document import validate_document
from hw.progress import StageReport
from quant.microgpt.sizes import CALIBRATION, CONTEXT
from quant.token.job import TokenFormat
from sim.microgpt.choice import MachineChoice

if TYPE_CHECKING:
    from quant.token.program import ModelProgram

__all__ = ["microgpt_program"]

_TRITS = {"method": "digits", "options": {"digits": 1}}  # finds the very trits and scales that are in the checkpoint
_CALIBRATION_WINDOWS = 64


def microgpt_program(model: Path, choice: MachineChoice, report: StageReport) -> "ModelProgram":
    """Compile the checkpoint in ``model`` for the chosen machine.

    Raises:
        InputError: a folder without checkpoint, or a machine that has no room for the model.
    """
    from quant.token.program import ModelProgram  # loads torch

    machine = choice.machine
    form = {
        "key_digits": choice.key_digits,
        "value_digits": choice.value_digits,
        "table_digits": choice.table_digits,
        "rotate": False,
        "block": max(CONTEXT, machine.stretch, 2 * machine.lanes),
    }
    fields = {
        "model": str(model),
        **_TRITS,
        "form": validate_document(form, TokenFormat, "options"),
        "calib": model / CALIBRATION,
        "calibration_windows": _CALIBRATION_WINDOWS,
    }
    return ModelProgram.of(fields, CONTEXT, machine, report)
