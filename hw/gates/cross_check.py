"""Lanes by second methods: switching energy by Icarus Verilog with the same delays, clock period by OpenSTA."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hw.artifact import read_artifact, write_artifact
from hw.gates.designs.bench import lane_bench
from hw.gates.designs.candidates import Design, candidates, operand_kind
from hw.gates.designs.operands import synthetic
from hw.gates.flow.cells import Library
from hw.gates.flow.event_simulation import simulate
from hw.gates.flow.icarus import icarus_toggles
from hw.gates.flow.netlist import Netlist, netlist_of
from hw.gates.flow.open_sta import has_open_sta, open_sta_critical
from hw.gates.flow.power import net_edges
from hw.gates.flow.technology_mapping import synthesize
from hw.gates.flow.timing import analyse
from hw.gates.measure import SUM_LENGTH

__all__ = ["CROSS_CHECK", "cross_check"]

CROSS_CHECK = ("tritforge.gates.cross_check", 2)
_CYCLES = 600
_FORMATS = ("ternary", "int8", "fp16-fp32")


def cross_check(
    library: Library, liberty: Sequence[Path], path: Path, progress: Callable[[str], None] = lambda _: None
) -> list[dict]:
    """Measure 1/2 C V^2 of all net transitions and the clock period both ways; write and return the rows of ``path``.

    Rows of other libraries stay; the periods of OpenSTA are None where it is not installed.

    Raises:
        InputError: Icarus is not installed.
        RuntimeError: the two simulators disagree about an output.
    """
    old = read_artifact(path, *CROSS_CHECK, remedy="remove it")["rows"] if path.is_file() else []
    rows = [row for row in old if row["library"] != library.name]
    for name in _FORMATS:
        design = Design("lane", name, 20)
        progress(f"{design.name} in Icarus and OpenSTA")
        candidate = candidates(design, library)[0]
        lane = candidate.build()
        netlist = netlist_of(synthesize(candidate.rtlil(lane), library, candidate.recipe), library)
        timing = analyse(netlist)
        bench = lane_bench(lane, synthetic(operand_kind(name), _CYCLES, 1, 1, 1), SUM_LENGTH)
        stimulus = np.concatenate([bench.inputs[port] for port in netlist.inputs], axis=1)
        warm_up = SUM_LENGTH + bench.latency
        activity = simulate(netlist, timing, stimulus, warm_up)
        toggles, samples = icarus_toggles(netlist, timing, stimulus, warm_up)
        if not np.array_equal(samples[warm_up:], activity.samples[warm_up:]):
            raise RuntimeError(f"{design.name}: the two simulators disagree about an output")
        own = net_edges(netlist, activity).sum(axis=1)
        scale = 0.5 * library.voltage**2 / activity.cycles
        rows.append(
            {
                "library": library.name,
                "design": design.name,
                "cycles": activity.cycles,
                "switching_j": float(own @ timing.loads * scale),
                "icarus_switching_j": float(toggles @ timing.loads * scale),
                **_periods(netlist, liberty, timing.critical),
            }
        )
    write_artifact(path, *CROSS_CHECK, {"rows": rows}, {"library": library.sha256})
    return rows


def _periods(netlist: Netlist, liberty: Sequence[Path], own: float) -> dict[str, float | None]:
    """The clock period here, by OpenSTA with the same loads, and by OpenSTA with loads by edge, s."""
    both = [open_sta_critical(netlist, liberty, own, edges) if has_open_sta() else None for edges in (False, True)]
    return dict(zip(("critical_s", "opensta_critical_s", "opensta_edge_loads_critical_s"), (own, *both), strict=True))
