"""Claims: savings per multiply-accumulate are those of the tables' own figures, added up by hand."""

import json
from pathlib import Path

import pytest

from energy.claims.compute import compute_rows
from energy.costs.operators import mac_cost
from energy.costs.sources import source_names
from energy.costs.tables import load_costs
from hw.config import ArrayConfig


@pytest.fixture(scope="module")
def rows():
    return compute_rows()


def one(rows, **wanted):
    (found,) = [row for row in rows if all(getattr(row, name) == value for name, value in wanted.items())]
    return found


def test_every_cost_source_is_there(rows):
    assert list(dict.fromkeys(row.costs for row in rows)) == [n for n in source_names() if not n.startswith("fpga:")]


def test_recipes_of_papers_by_hand(rows):
    """BitNet's table at 7 nm, pJ: INT8 add .007, multiply .07; FP16 add .16, multiply .34."""
    paper = [row for row in rows if row.costs == "bitnet-7nm" and row.design == "operators alone"]
    assert {row.kind for row in paper} == {"published"}
    assert one(paper, recipe="INT8 mul + INT8 add -> INT8 add").saved == pytest.approx(1 - 0.007 / 0.077)
    comparison = one(paper, recipe="FP16 mul + FP16 add -> INT8 add (BitNet b1.58's comparison)")
    assert comparison.saved == pytest.approx(1 - 0.007 / 0.5)
    assert comparison.rival == "fp16"


def test_a_lane_of_operators_has_an_accumulator_of_its_own(rows):
    """An adder of 20 bits takes 20/8 of an 8-bit one's energy, whatever is added; the multiplier comes on top."""
    lane = one(rows, costs="bitnet-7nm", design="lane", accumulator_bits=20, rival="int8")
    assert lane.kind == "derived"
    assert lane.rival_j - lane.ternary_j == pytest.approx(0.07e-12)
    wider = one(rows, costs="bitnet-7nm", design="lane", accumulator_bits=32, rival="int8")
    assert wider.rival_j - wider.ternary_j == pytest.approx(0.07e-12)
    assert wider.ternary_j > lane.ternary_j
    tree = one(rows, costs="bitnet-7nm", design="tree", accumulator_bits=20, rival="int8")
    assert tree.saved > lane.saved


@pytest.mark.parametrize("library", ["asap7", "sky130"])
@pytest.mark.parametrize(("rival", "format_"), [("int8", "int8"), ("w2a8", "int2"), ("fp16", "fp16-fp32")])
def test_gates_are_the_committed_measurements(rows, library, rival, format_):
    path = Path(__file__).parents[3] / "hw" / "gates" / "results" / f"{library}.json"
    measured = json.loads(path.read_text())["rows"].values()

    def energy(name, bits):
        found = [
            row["dynamic_j"]
            for row in measured
            if (row["organisation"], row["format"], row["accumulator_bits"]) == ("tree", name, bits)
            and row["zero_fraction"] in (None, 0.4)
            and row["operands"] == "synthetic"
        ]
        return found[0]

    row = one(rows, costs=f"gates:{library}", design="tree", accumulator_bits=20, rival=rival)
    assert row.ternary_j == energy("ternary", 20)
    assert row.rival_j == energy(format_, 20)
    assert row.saved == pytest.approx(1 - energy("ternary", 20) / energy(format_, 20))
    assert row.kind == "measured"


def test_what_was_not_measured_at_a_width_has_no_row(rows):
    assert not [row for row in rows if row.costs == "gates:asap7" and (row.design, row.rival) == ("lane", "w4a8")
                and row.accumulator_bits == 32]  # fmt: skip


def test_arrays_are_compared_by_typical_costs(rows):
    """A rival's lane by the table itself, whose FP16 multiplier and adder are given once."""
    for name in ("bitnet-7nm", "horowitz-45nm"):
        table = load_costs(name)
        array = ArrayConfig(name="", organisation="systolic", rows=16, cols=4, accumulator_bits=20, token_tile=16)
        for rival in ("int8", "fp16"):
            row = one(rows, costs=name, design="lane", accumulator_bits=20, rival=rival)
            assert row.ternary_j == mac_cost(array, table).energy.typical
            assert row.rival_j == mac_cost(array.model_copy(update={"mac": rival}), table).energy.typical
