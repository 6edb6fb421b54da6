"""Resource results: the folded array stays as small as published, and the page shows the committed results."""

import pytest

from hw.arithmetic.adders import Cells
from hw.config import ArrayConfig
from hw.synthesis.command import PAGE, RESULTS, rendered
from hw.synthesis.families import family_of
from hw.synthesis.resources import Accumulated, synthesize

PEER = ArrayConfig(
    name="16x4", rows=16, cols=4, chain_lanes=4, adders_per_register=1, accumulator_bits=20, weight_bus_bits=16
)


@pytest.mark.parametrize(("cells", "chain", "most", "adder"), [("ecp5", 4, 14.0, "CCU2C"), ("lut6", 1, 10.0, "LUT6_2")])
def test_a_16x4_array_takes_few_tables_per_mac_and_no_dsp(cells: Cells, chain: int, most: float, adder: str):
    found = synthesize(Accumulated(PEER.model_copy(update={"chain_lanes": chain}), cells), family_of(cells))
    assert found.tables / PEER.lanes <= most
    assert found.cells[adder] > 15 * 4 * 4  # the adders are really in there
    assert found.dsps == 0


def test_the_page_shows_the_committed_results():
    text = PAGE.read_text(encoding="utf-8")
    assert rendered(text, RESULTS) == text
    assert "| ecp5 | 16 x 4 | tree, chains of 4 | ecp5 |" in text
