"""The main job: model -> (quantized weights) -> trace -> cycles on three arrays -> energy -> report."""

import logging
from typing import Literal

from pydantic import Field, field_validator

from energy.costs.fpga import FPGA_PREFIX
from energy.costs.sources import load_source
from energy.costs.sram import BUFFERS
from energy.costs.tables import OpTable, cost_names, load_costs
from energy.model import energy_of
from energy.sizing import Hold, Sizing, sized_rival
from energy.split import split_energy
from energy.summary import JobSummary, summarize
from energy.weights import Measured, mean_planes
from hw.arithmetics import ARITHMETICS, Mac
from hw.config import ArrayConfig, RivalBus, SramCells
from hw.document import Record
from quant.manifest import Manifest
from quant.shapes import ModelShape
from sim.attention import measured_in_digits
from sim.cores import CoreGroup
from sim.job import SimJob
from sim.result import SimResult
from sim.workload.products import Workload

__all__ = ["BASELINES", "Job", "Rivals", "simulate_machines"]

_log = logging.getLogger(__name__)

FpgaFamily = Literal["ecp5", "7series", "ultrascale+"]

BASELINES: tuple[Mac, ...] = ("int8", "fp16")

_DENSE: tuple[Mac, ...] = tuple(name for name, one in ARITHMETICS.items() if not one.stores_trits)


class Rivals(Record):
    """The machines that a job compares the ternary array with: its lanes, buffers and clock in other arithmetics."""

    rivals: str = Field(
        ",".join(BASELINES), description=f"arithmetics to compare with, separated by commas: {', '.join(_DENSE)}"
    )
    rival_bus: RivalBus = Field(
        "same", description="their weight bus: the same bits per cycle, or (balanced) the same cycles per weight tile"
    )

    hold: Hold = Field(
        "lanes",
        description="what rivals have as much of: lanes, compute-area (array and vector unit), area, power (in "
        "prefill, without DRAM); bandwidth: only the memory, and the fewest lanes whose prefill is as fast",
    )

    @field_validator("rivals")
    @classmethod
    def _known(cls, value: str) -> str:
        for name in value.split(","):
            if name not in _DENSE:
                raise ValueError(f"rivals must be of {', '.join(_DENSE)}, separated by commas, not {name!r}")
        return value

    def machines(self, array: ArrayConfig, cores: CoreGroup) -> list[ArrayConfig]:
        """The rivals of ``array``, each with a weight buffer that feeds its cores."""
        names = dict.fromkeys(self.rivals.split(","))
        return [cores.fed(array.baseline(mac, self.rival_bus)) for mac in _DENSE if mac in names]


class Job(SimJob):
    """A ``SimJob`` on the ternary array and on its baselines, with costs."""

    costs: str = Field(
        "gates:asap7", description="cost table (tritforge list costs), gates:LIBRARY, fpga:FAMILY, or a .yaml file"
    )
    sram_cells: SramCells | None = Field(
        None,
        description="SRAM cell type of every buffer: hp, lop, lstp, or auto, the one of least leakage that keeps up "
        "with the clock; by default as the array says for each buffer",
    )

    fpga: FpgaFamily | None = Field(
        None,
        description="also count look-up tables, flip-flops, DSPs and block RAM of this family of FPGAs by part; with "
        "costs fpga:FAMILY that one",
    )

    @property
    def counted_fpga(self) -> str | None:
        """Family whose tables are counted."""
        return self.costs.removeprefix(FPGA_PREFIX) if self.costs.startswith(FPGA_PREFIX) else self.fpga

    def with_cells(self, array: ArrayConfig) -> ArrayConfig:
        """``array`` with this job's SRAM cells."""
        if self.sram_cells is None:
            return array
        return array.model_copy(update={f"{buffer}_cells": self.sram_cells for buffer in BUFFERS})


def simulate_machines(
    job: Job, shape: ModelShape | Workload, measured: Measured | None = None, rivals: Rivals | None = None
) -> tuple[JobSummary, list[SimResult]]:
    """Simulate the ternary array and its ``rivals`` (None: INT8 and FP16) and join them with costs.

    Raises:
        InputError: an unknown name, or sizes that the model cannot run.
    """
    rivals = rivals or Rivals()
    costs = load_source(job.costs)
    array = costs.clocked(job.with_cells(job.load_array()))
    manifest, statistics = (measured.manifest, measured.statistics) if measured else (None, None)

    def run(machine: ArrayConfig) -> SimResult:
        """A rival stores its own formats, whatever the manifest and the digits of K and V say."""
        if machine.arithmetic.stores_trits:
            return job.simulate(shape, machine, manifest, statistics)
        return job.as_rival().simulate(shape, machine, None, statistics)

    def prefilled(machine: ArrayConfig) -> SimResult:
        """Of a rival that is sized, prefill alone, which is what is held."""
        prompt = job if job.is_split else job.model_copy(update={"decode": 0})
        return prompt.as_rival().simulate(shape, machine, None, statistics)

    first = run(array)
    sizing = Sizing(rivals.hold, first, costs, job.core_group, prefilled)
    widen = rivals.rival_bus == "balanced"
    machines = [sized_rival(machine, sizing, widen) for machine in rivals.machines(array, job.core_group)]
    results = [first, *map(run, machines)]
    _log.info("%s: %s priced by %s", first.model, ", ".join(one.machine for one in results), costs.name)
    planes = mean_planes(manifest) if manifest else 1.0
    energies = [energy_of(result, costs) for result in results]
    splits = [
        {} if job.is_split else split_energy(first, result, costs, run, planes, (energies[0], energy))
        for result, energy in zip(results[1:], energies[1:], strict=True)
    ]
    summary = summarize(results, costs, _published_tables(), manifest, splits, rivals.hold, job.counted_fpga, energies)
    if manifest and (note := _note_on_cache(job, manifest, array)):
        summary = summary.model_copy(update={"notes": [*summary.notes, note]})
    return summary, results


def _note_on_cache(job: Job, manifest: Manifest, array: ArrayConfig) -> str | None:
    """What the perplexities say nothing about: K and V that are simulated otherwise than they were measured."""
    digits = job.formats(array, manifest.shape, manifest).digits
    measured = manifest.kv.spelled if manifest.kv else "float"
    if digits is None:
        return f"perplexity with K and V in {measured}, cache of {job.kv_bits} bits simulated" if manifest.kv else None
    if measured_in_digits(digits, manifest):
        return None
    asked = f"digits:{digits.key_digits}/{digits.value_digits}{',rotate' if digits.rotate else ''}"
    return f"perplexity with K and V in {measured}, {asked} simulated; --kv {asked} measures what they cost"


def _published_tables() -> list[OpTable]:
    return [table for table in map(load_costs, cost_names()) if table.kind == "published"]
