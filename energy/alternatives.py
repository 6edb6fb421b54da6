"""The same rivals under everything that can be held equal, each row with the command that repeats it, or why not."""

import shlex
from typing import get_args

from energy.job import Job, Rivals, simulate_machines
from energy.sizing import Hold
from energy.summary import JobSummary
from energy.weights import Measured
from hw.document import Record
from hw.errors import InputError
from quant.shapes import ModelShape
from sim.workload.products import Workload

__all__ = ["Alternative", "find_alternatives"]


class Alternative(Record):
    """One machine under one hold; figures are 0 where ``reason`` says why there are none."""

    hold: str  # "" for the machine that the others are held equal to
    mac: str
    size: str = ""
    area_mm2: float | None = None
    prefill_s: float = 0.0
    prefill_j_per_token: float = 0.0
    decode_tokens_per_s: float | None = None  # None: the job has no decode
    decode_j_per_token: float | None = None
    command: str  # that simulates it
    reason: str = ""


def find_alternatives(
    job: Job,
    shape: ModelShape | Workload,
    measured: Measured | None,
    rivals: Rivals,
    given: JobSummary,
    words: list[str],
) -> list[Alternative]:
    """A row per hold and rival after that of ``given``'s ternary machine; ``words``: options of the job.

    ``given`` is the job under its own hold, which is not simulated again.
    """
    rows = [_row(given, 0, "", _command(words, rivals.hold))]
    for hold in get_args(Hold):
        command = _command(words, hold)
        try:
            held = rivals.model_copy(update={"hold": hold})
            summary = given if hold == rivals.hold else simulate_machines(job, shape, measured, held)[0]
        except InputError as error:
            rows.append(Alternative(hold=hold, mac=rivals.rivals, command=command, reason=str(error)))
            continue
        rows += [_row(summary, number, hold, command) for number in range(1, len(summary.machines))]
    return rows


def _command(words: list[str], hold: Hold) -> str:
    return shlex.join(["tritforge", "sim", *words, "--hold", hold])


def _row(summary: JobSummary, number: int, hold: str, command: str) -> Alternative:
    machine = summary.machines[number]
    prefill = machine.phases[0]
    decode = next((phase for phase in machine.phases if phase.name == "decode"), None)
    return Alternative(
        hold=hold,
        mac=machine.mac,
        size=machine.size,
        area_mm2=machine.area.total.typical if machine.area else None,
        prefill_s=prefill.seconds,
        prefill_j_per_token=prefill.total_j_per_token.typical,
        decode_tokens_per_s=decode.tokens_per_s if decode else None,
        decode_j_per_token=decode.total_j_per_token.typical if decode else None,
        command=command,
    )
