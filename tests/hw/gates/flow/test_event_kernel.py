"""The timing wheel's lists, against Python's."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.gates.flow.event_kernel import LINK, NOT_PENDING, _insert, _remove

_SLOTS, _DRIVERS = 4, 6


def _listed(links: np.ndarray, slot: int, forwards: bool) -> list[int]:
    """The nodes of a slot, by following the links once round."""
    side, nodes = ("after" if forwards else "before"), []
    node = int(links[slot][side])
    while node != slot:
        nodes.append(node)
        assert len(nodes) <= _DRIVERS, "the list does not return to its slot"
        node = int(links[node][side])
    return nodes


@settings(deadline=None)  # the first example waits for the compiler
@given(st.lists(st.tuples(st.integers(0, _DRIVERS - 1), st.integers(0, _SLOTS - 1)), max_size=30))
def test_a_slot_lists_its_pending_drivers_last_in_first_out_whatever_is_cancelled(steps):
    """Each step cancels a driver's change where one is pending, and otherwise makes one pending in a slot."""
    links = np.full(_SLOTS + _DRIVERS, NOT_PENDING, LINK)
    links[:_SLOTS]["before"] = links[:_SLOTS]["after"] = np.arange(_SLOTS)
    expected: list[list[int]] = [[] for _ in range(_SLOTS)]
    for driver, slot in steps:
        node = _SLOTS + driver
        home = next((nodes for nodes in expected if node in nodes), None)
        assert (links[node]["after"] != NOT_PENDING) == (home is not None)
        if home is None:
            _insert(links, slot, node)
            expected[slot].insert(0, node)
        else:
            _remove(links, node)
            home.remove(node)
        for place, nodes in enumerate(expected):
            assert _listed(links, place, forwards=True) == nodes
            assert _listed(links, place, forwards=False) == nodes[::-1]
