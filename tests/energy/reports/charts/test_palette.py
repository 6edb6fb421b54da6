"""Colours that people of any colour vision tell apart, and that keep their meaning whatever else appears."""

from itertools import combinations

import numpy as np
import pytest

from energy.model import PARTS
from energy.reports.charts.palette import DARK, LIGHT, label_of, slots
from sim.result import CAUSES

# Machado, Oliveira and Fernandes 2009, severity 1.0, on linear RGB
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
SIX = ("array", "sram", "dram", "vector", "leakage", "host")


def linear(colour):
    rgb = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab(rgb):
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ np.clip(rgb, 0, 1)
    x, y, z = np.cbrt(np.maximum(xyz / [0.9505, 1.0, 1.089], 1e-6))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


def contrast(one, other):
    lights = sorted(np.dot([0.2126, 0.7152, 0.0722], linear(colour)) + 0.05 for colour in (one, other))
    return lights[1] / lights[0]


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_the_six_are_told_apart(theme, deficiency):
    """Two colours closer than 10 in L*a*b* are taken for one at a glance; a just noticeable difference is about 2.3."""
    seen = {name: lab(np.array(DEFICIENCIES[deficiency]) @ linear(theme[name][0])) for name in SIX}
    nearest = min(np.linalg.norm(seen[a] - seen[b]) for a, b in combinations(SIX, 2))
    assert nearest > 10


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_labels_are_legible_on_their_colour(theme):
    assert min(contrast(fill, ink) for fill, ink in theme.values()) > 4.5  # WCAG 2.2, AA


def test_what_has_a_meaning_keeps_its_colour_beside_new_parts_and_causes():
    alone, among = slots(["dram", "array"]), slots(["crossbar", "array", "link", "dram"])
    assert {key: among[key] for key in alone} == alone == {"dram": "dram", "array": "array"}
    assert (among["crossbar"], among["link"]) == ("other-1", "other-2")
    assert set(slots([f"new{number}" for number in range(9)]).values()) <= set(LIGHT)


def test_every_part_has_a_colour_of_its_own_that_no_other_part_or_cause_has():
    colours = slots(PARTS)
    assert len(set(colours.values())) == len(PARTS)
    beyond = [slot for slot in (*colours.values(), *slots(CAUSES).values()) if slot not in SIX]
    assert len(beyond) == len(set(beyond))


def test_every_cause_has_a_colour_of_its_own_and_words():
    assert len(set(slots(CAUSES).values())) == len(CAUSES)
    assert not any("_" in label_of(cause) for cause in CAUSES)
    assert label_of("dram_rows") == "DRAM rows"
