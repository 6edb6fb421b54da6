"""One measurement: synthesis, timing, simulation checked bit for bit, energy; the best candidate of a design."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from hw.gates.designs.bench import array_bench, lane_bench
from hw.gates.designs.candidates import Candidate, Design, candidates
from hw.gates.designs.operands import Operands
from hw.gates.flow.cells import Library
from hw.gates.flow.event_simulation import simulate
from hw.gates.flow.netlist import netlist_of
from hw.gates.flow.power import energy
from hw.gates.flow.timing import analyse
from hw.gates.mapped import mapped_module

__all__ = ["SUM_LENGTH", "Measurement", "best", "measure"]

SUM_LENGTH = 64  # vectors of one sum and, in arrays, of one weight tile


@dataclass(frozen=True)
class Measurement:
    """Figures of one design with one set of operands. Energies in J per multiply-accumulate, leakage in W per one.

    ``critical_s``: shortest clock period; ``area_um2``, ``cells``, ``flip_flops``: of the whole design; ``structure``:
    the candidate that was kept, ``others``: energy of those that were not.
    """

    library: str
    design: str
    organisation: str
    format: str
    accumulator_bits: int
    rows: int
    cols: int
    operands: str
    zero_fraction: float | None
    structure: str
    others: dict[str, float]
    cells: int
    flip_flops: int
    clock_gates: int
    area_um2: float
    critical_s: float
    logic_j: float
    registers_j: float
    clock_j: float
    leakage_w: float
    cycles: int
    outputs_checked: int

    @property
    def dynamic_j(self) -> float:
        """Energy of one multiply-accumulate without leakage."""
        return self.logic_j + self.registers_j + self.clock_j

    def row(self) -> dict:
        """As JSON, with the sum."""
        return asdict(self) | {"dynamic_j": self.dynamic_j}


def measure(
    design: Design, candidate: Candidate, library: Library, operands: Operands, cache: Path | None = None
) -> Measurement:
    """Measure one candidate; ``cache`` is a folder that keeps mapped netlists.

    Raises:
        RuntimeError: the netlist computes something else than the reference.
    """
    component = candidate.build()
    netlist = netlist_of(mapped_module(candidate.rtlil(component), library, candidate.recipe, cache), library)
    timing = analyse(netlist)
    tree = design.organisation == "tree"
    bench = array_bench(component, operands) if tree else lane_bench(component, operands, SUM_LENGTH)
    warm_up = SUM_LENGTH + bench.latency
    stimulus = np.concatenate([bench.inputs[port] for port in netlist.inputs], axis=1)
    activity = simulate(netlist, timing, stimulus, warm_up)
    if wrong := bench.wrong(activity.samples, SUM_LENGTH):
        raise RuntimeError(f"{design.name} in {library.name}: {wrong} outputs of the netlist differ from the reference")
    result = energy(netlist, timing, activity)
    macs = design.rows * design.cols
    per_mac = 1 / (activity.cycles * macs)
    return Measurement(
        library=library.name,
        design=design.name,
        organisation=design.organisation,
        format=design.format,
        accumulator_bits=design.accumulator_bits,
        rows=design.rows,
        cols=design.cols,
        operands=operands.name,
        zero_fraction=operands.zero_fraction,
        structure=candidate.label,
        others={},
        cells=netlist.cells,
        flip_flops=len(netlist.flip_flops),
        clock_gates=len(netlist.clock_gates),
        area_um2=netlist.area,
        critical_s=timing.critical,
        logic_j=float(result.logic * per_mac),
        registers_j=float(result.registers * per_mac),
        clock_j=float(result.clock * per_mac),
        leakage_w=result.leakage_w / macs,
        cycles=activity.cycles,
        outputs_checked=(len(bench.expected) - bench.latency - SUM_LENGTH) * bench.expected.shape[1],
    )


def best(
    design: Design,
    library: Library,
    operands: Operands,
    cache: Path | None = None,
    only: str | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Measurement:
    """The candidate of least dynamic energy, or the one labelled ``only``; ``progress`` hears what is measured."""
    found = []
    for candidate in candidates(design, library):
        if only in (None, candidate.label):
            progress(f"{design.name}: {candidate.label}")
            found.append(measure(design, candidate, library, operands, cache))
    found.sort(key=lambda measurement: measurement.dynamic_j)
    others = {measurement.structure: measurement.dynamic_j for measurement in found[1:]}
    return Measurement(**asdict(found[0]) | {"others": others})
