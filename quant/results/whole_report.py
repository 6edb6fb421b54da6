"""What a whole job on random weights in files took, and the documentation's table of such; nothing here needs torch."""

from collections.abc import Sequence

from hw.document import Record
from hw.pages import markdown_table

__all__ = ["WholeReport", "whole_markdown"]


class WholeReport(Record):
    """One whole job: ``seconds`` of each of its processes, all but the last of them killed.

    ``quantize_seconds``, ``finished_blocks`` and peaks are of the last process (``quant.procedures.cost``); ``equal``:
    whether a job that was not killed ended with the same bits, None where there was none.
    """

    model: str
    method: str
    options: dict[str, float | int | str | bool | None]  # those given
    windows: int
    length: int
    blocks: int
    weight_bytes: int  # of model.safetensors
    weights_seconds: float  # of making and writing them
    kill_after: int | None
    seconds: list[float]
    quantize_seconds: float
    finished_blocks: int
    host_bytes: int
    device_bytes: int
    weights_sha256: str  # of ternary.safetensors
    equal: bool | None
    device: str


def whole_markdown(reports: Sequence[WholeReport]) -> str:
    """A row per job."""
    header = (
        *("model", "method", "options", "calibration", "blocks", "weights", "killed after", "until then", "to the end"),
        *("of which quantizing", "GPU peak", "host peak", "bits", "machine"),
    )
    return markdown_table(header, [_cells(one) for one in reports])


def _cells(report: WholeReport) -> tuple[str, ...]:
    *killed, last = report.seconds
    same = {True: "equal to a run not killed", False: "DIFFERENT from a run not killed", None: "not compared"}
    return (
        report.model,
        f"`{report.method}`",
        ", ".join(f"{name} {value}" for name, value in report.options.items()) or "defaults",
        f"{report.windows} x {report.length}",
        str(report.blocks),
        f"{report.weight_bytes / 1e9:.1f} GB",
        f"{report.finished_blocks} block{'s' * (report.finished_blocks > 1)}" if killed else "-",
        f"{sum(killed) / 60:.1f} min" if killed else "-",
        f"{last / 60:.1f} min",
        f"{report.quantize_seconds / 60:.1f} min",
        f"{report.device_bytes / 1e9:.1f} GB" if report.device_bytes else "-",
        f"{report.host_bytes / 2**30:.1f} GiB",
        same[report.equal],
        report.device,
    )
