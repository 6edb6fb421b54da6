"""OpenSTA, an independent timer, finds the clock period that this package finds."""

import shutil
from pathlib import Path

import pytest

from hw.gates.designs.candidates import Design, candidates
from hw.gates.flow.library import load_library
from hw.gates.flow.netlist import netlist_of
from hw.gates.flow.open_sta import open_sta_critical
from hw.gates.flow.technology_mapping import synthesize
from hw.gates.flow.timing import analyse

LIBERTY = Path(__file__).parents[4] / ".." / "shared" / "data" / "liberty"

pytestmark = pytest.mark.skipif(not shutil.which("sta"), reason="needs OpenSTA: apt install opensta")


# ASAP7's adder has an arc from its carry to its sum, IHP's pins load each edge differently, GF180 derates its slews.
@pytest.mark.slow
@pytest.mark.parametrize(("files", "format"), [("asap7*", "int8"), ("ihp*", "ternary"), ("gf180*", "int4")])
def test_the_period_of_a_lane_is_that_of_opensta(files, format, tmp_path):
    paths = sorted(LIBERTY.glob(files))
    if not paths:
        pytest.skip(f"the Liberty files {files} are not here")
    library = load_library(paths, tmp_path)
    candidate = candidates(Design("lane", format, 16), library)[0]
    netlist = netlist_of(synthesize(candidate.rtlil(candidate.build()), library, candidate.recipe), library)
    own = analyse(netlist).critical
    assert own == pytest.approx(open_sta_critical(netlist, paths, own, edge_loads=False), rel=1e-5)


def test_the_period_of_a_small_library_is_that_of_opensta(tmp_path):
    path = Path(__file__).parent / "tiny.lib"
    library = load_library([path], tmp_path)
    candidate = candidates(Design("lane", "ternary", 16), library)[0]
    netlist = netlist_of(synthesize(candidate.rtlil(candidate.build()), library, candidate.recipe), library)
    own = analyse(netlist).critical
    assert own == pytest.approx(open_sta_critical(netlist, [path], own, edge_loads=False), rel=1e-5)
