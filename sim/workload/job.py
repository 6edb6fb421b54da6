"""``WorkloadJob``: the file that stands in a model's place, and which options of a job it leaves without meaning."""

from pathlib import Path

from pydantic import Field

from hw.document import Record
from hw.errors import InputError
from sim.workload.products import Workload
from sim.workload.read import read_workload

__all__ = ["OF_MODELS", "WorkloadJob", "refuse_beside_workload"]

# What a job says about models; the rest is of machines and of how they run products.
OF_MODELS = (
    *("model", "prefill", "decode", "batch", "kv_bits", "key_digits", "value_digits", "rotate", "head_bits"),
    *("head_digits", "embedding_bits", "decode_array", "decode_memory", "decode_channels", "decode_cores"),
    *("kv_link_bytes_per_s", "kv_link_latency_s", "prefill_chunk", "mixed_chunk", "fuse_projections", "attention"),
)


class WorkloadJob(Record):
    """A file of matrix products that is simulated in a model's place."""

    workload: str | None = Field(
        None,
        description="file of matrix products instead of a model: .csv (name,m,n,k, or a SCALE-Sim topology), .yaml "
        "(ZigZag, Timeloop, AccelForge) or .py (ZigZag)",
    )
    workload_fields: dict[str, bool | int | float | str] = Field(
        {}, description="variable of the workload's template, such as BATCH_SIZE=1"
    )

    def load(self) -> Workload | None:
        """The products of the file; None where no file was given.

        Raises:
            InputError: a file that cannot be read, or variables without one.
        """
        if self.workload is not None:
            return read_workload(Path(self.workload), self.workload_fields)
        if self.workload_fields:
            raise InputError("workload_fields must be left out without workload, whose template they fill in")
        return None


def refuse_beside_workload(fields: dict[str, object], others: dict[str, object]) -> None:
    """Refuse what only a model has.

    Raises:
        InputError: the first of ``others``, or of a job's ``fields`` that a list of products leaves without meaning.
    """
    for name, value in (others | {name: fields[name] for name in fields if name in OF_MODELS}).items():
        raise InputError(f"{name} must be left out with workload, whose products are all that runs, not {value}")
