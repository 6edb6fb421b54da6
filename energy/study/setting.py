"""``StudyJob``: a job, and what a study compares it with, sets it against or quantizes it by."""

from pydantic import Field, field_validator

from energy.job import Job, Rivals
from energy.sizing import Hold
from energy.study.accuracy import measured_methods, measured_models
from energy.study.fits import check_fits
from hw.arithmetics import ARITHMETICS, Mac
from hw.config import RivalBus
from hw.errors import did_you_mean
from sim.workload.job import WorkloadJob

__all__ = ["StudyJob"]

_RIVALS = tuple(name for name, one in ARITHMETICS.items() if not one.stores_trits)


def _about(name: str) -> str:
    return Rivals.model_fields[name].description or ""


class StudyJob(Job):
    """A job with the fields of a study's points."""

    rivals: list[Mac] = Field(
        [], description=f"arithmetics to compare every point with: any of {', '.join(_RIVALS)}; their metrics are "
        "rival.NAME.METRIC and saved.NAME.METRIC"
    )  # fmt: skip
    rival_bus: RivalBus = Field("same", description=_about("rival_bus"))
    hold: Hold = Field("lanes", description=_about("hold"))
    fits: str | None = Field(
        None,
        description="board (tritforge list boards) or FPGA part that must hold the machine; a point that it does not "
        "hold is a row with the reason",
    )
    method: str | None = Field(
        None,
        description="quantization method whose planes, scales and offsets the weights have, with the perplexity that "
        f"was measured of it: {', '.join(measured_methods())}",
    )

    accuracy_of: str | None = Field(
        None,
        description="measured model whose perplexity and kv_loss stand for those of this one; by default the model "
        "itself",
    )

    workload: str | None = Field(
        None,
        description=f"{WorkloadJob.model_fields['workload'].description}; a request is then one pass through it, and "
        "what is of tokens has no figure",
    )
    workload_fields: dict[str, bool | int | float | str] = Field(
        {}, description=WorkloadJob.model_fields["workload_fields"].description
    )

    @property
    def products(self) -> WorkloadJob:
        """The file in the model's place, if there is one."""
        return WorkloadJob(workload=self.workload, workload_fields=self.workload_fields)

    @field_validator("rivals")
    @classmethod
    def _dense(cls, value: list[Mac]) -> list[Mac]:
        for name in value:
            if name not in _RIVALS or value.count(name) > 1:
                raise ValueError(f"rivals must be of {', '.join(_RIVALS)}, each once, not {name!r}")
        return value

    @field_validator("fits")
    @classmethod
    def _part(cls, value: str | None) -> str | None:
        if value is not None:
            check_fits(value)
        return value

    @field_validator("method")
    @classmethod
    def _measured(cls, value: str | None) -> str | None:
        known = measured_methods()
        if value is not None and value not in known:
            raise ValueError(f"method must be one of {', '.join(known)}, not {value!r}{did_you_mean(value, known)}")
        return value

    @field_validator("accuracy_of")
    @classmethod
    def _of_measured_model(cls, value: str | None) -> str | None:
        known = measured_models()
        if value is not None and value not in known:
            raise ValueError(
                f"accuracy_of must be one of {', '.join(known)}, not {value!r}{did_you_mean(value, known)}"
            )
        return value
