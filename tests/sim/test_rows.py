"""Rows of a run: every op once, sums those of its phases, one type per column."""

import pytest

from hw.config import load_array
from quant.shapes import load_shape
from sim.memory import load_memory
from sim.rows import op_rows
from sim.simulator import simulate


@pytest.fixture(scope="module")
def result():
    return simulate(load_shape("stories260K"), load_array("8x8"), load_memory("ddr4-2400"), prefill=9, decode=2)


def test_cycles_seconds_and_counts_add_up_to_the_phases(result):
    rows = op_rows(result)
    assert len(rows) == sum(len(phase.ops) for phase in result.phases)
    for phase in result.phases:
        own = [row for row in rows if row["phase"] == phase.name]
        assert [row["op"] for row in own] == [op.name for op in phase.ops]
        assert sum(row["cycles"] for row in own) == phase.cycles
        assert sum(row["seconds"] for row in own) == pytest.approx(result.seconds(phase), rel=1e-12)
        assert sum(row["dram_read_bits"] for row in own) == phase.counts.dram_read_bits
        for row in own:
            assert sum(value for name, value in row.items() if name.startswith("cycles_")) == row["cycles"]


def test_a_column_holds_one_kind_of_value(result):
    rows = op_rows(result)
    assert len({tuple(row) for row in rows}) == 1  # the same columns in the same order
    for name in rows[0]:
        assert len({type(row[name]) for row in rows} - {type(None)}) == 1, name


def test_the_decode_of_two_machines_has_its_own_clock_and_name():
    from sim.job import SimJob

    slow = {"clock_hz": 1e8}
    job = SimJob(
        model="stories260K", array="8x8", prefill=9, decode=2, decode_array="4x4", decode_memory="ddr4-2400",
        array_fields=slow, attention="vector",
    )  # fmt: skip
    result = job.simulate(load_shape("stories260K"), job.load_array())
    rows = op_rows(result)
    clocks = {row["phase"]: row["cycles"] / row["seconds"] for row in rows if row["cycles"]}
    assert clocks["prefill"] == pytest.approx(1e8)
    assert clocks["decode"] == pytest.approx(result.on("decode").array.clock_hz)
    assert {row["machine"] for row in rows if row["phase"] == "decode"} == {"4x4"}
