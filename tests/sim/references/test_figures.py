"""Figures of other simulators and of a chip are reproduced within the tolerance that each states."""

import pytest

from sim.references.figures import ASSUMPTIONS, agreements

ROWS = agreements()


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.reference}: {row.what}" for row in ROWS])
def test_the_simulator_agrees_with_published_figures(row):
    assert abs(row.difference) <= row.tolerance


def test_every_reference_that_is_not_equal_states_its_assumptions_or_its_preset():
    stated = " ".join(ASSUMPTIONS)
    for row in ROWS:
        assert row.tolerance == 0 or row.reference.split()[0] in stated or "ddr4" in row.what
