"""Claims: the picture shows each method's best run, its colour is its energy, and what collapsed is crossed out."""

import json
from xml.etree import ElementTree

import pytest

from energy.reports.docs import RESULTS, draw_method_picture
from energy.reports.method_picture import draw_methods, method_points, methods_text

SMOLLM2, QWEN = "smollm2-135m", "qwen2.5-coder-0.5b"


def row(model, method, a8, bits=1.7, **options):
    perplexity = {"fp_a8": 10.0, "a8": a8}
    return {"model": model, "method": method, "options": options, "true_bits": bits, "perplexity": perplexity}


ROWS = [
    row(SMOLLM2, "good", 15.0), row(SMOLLM2, "good", 12.0, 1.6), row(SMOLLM2, "bad", 20.0, follow=0, group=None),
    row(SMOLLM2, "worst", 1e6, 3.4), row(QWEN, "good", 13.0), row("another", "good", 11.0),
]  # fmt: skip
JOULES = {SMOLLM2: {"good": 0.001, "bad": 0.003, "worst": 0.002}, QWEN: {}}


@pytest.fixture
def energies(tmp_path):
    path = tmp_path / "energies.json"
    path.write_text(json.dumps({"machine": {"array": "a", "memory": "m"}, "joules": JOULES}))
    return path


@pytest.fixture
def drawn(tmp_path, energies):
    draw_methods(tmp_path / "methods.svg", ROWS, energies)
    return ElementTree.parse(tmp_path / "methods.svg").getroot()


def marks(tree):
    found = [one for one in tree.iter() if "mark" in (one.get("class") or "").split()]
    return {one.get("aria-label").split(":")[0].replace("\u202f", " "): one for one in found}


def test_the_best_run_of_each_method_and_model_is_taken():
    points = method_points(ROWS, JOULES)
    assert [(one.model, one.method, one.bits, one.times) for one in points] == [
        (SMOLLM2, "good", 1.6, 1.2), (SMOLLM2, "bad", 1.7, 2.0), (SMOLLM2, "worst", 3.4, 1e5), (QWEN, "good", 1.7, 1.3)
    ]  # fmt: skip
    assert [one.collapsed for one in points] == [False, True, True, False]
    assert method_points([{"model": QWEN, "method": "x", "true_bits": 1, "perplexity": {"a16": 3}}], {}) == []


def test_colours_go_from_the_least_energy_of_the_model_to_the_most(drawn):
    found = marks(drawn)
    fills = {name: one.get("style") for name, one in found.items()}
    assert fills[f"good on {SMOLLM2}"] == "fill:#1a7f5a"
    assert fills[f"bad on {SMOLLM2}"] == "fill:#a3262a"
    assert fills[f"worst on {SMOLLM2}"] == "fill:#e6b035"  # halfway
    assert fills[f"good on {QWEN}"] == "fill:#9aa0a6"  # not simulated


def test_models_have_shapes_of_their_own_and_collapsed_methods_are_crossed_out(drawn):
    found = marks(drawn)
    assert len(found) == 4
    assert found[f"good on {QWEN}"].tag.endswith("rect")
    assert found[f"good on {SMOLLM2}"].tag.endswith("circle")
    crosses = [one for one in drawn.iter() if one.get("class") == "cross"]
    assert len(crosses) == 2
    assert "collapsed: unusable" in found[f"bad on {SMOLLM2}"].get("aria-label")
    assert "unusable" not in found[f"good on {SMOLLM2}"].get("aria-label")


def test_below_it_stands_what_may_be_used(energies):
    text = methods_text(ROWS, energies)
    assert f"- **{SMOLLM2}**: usable `good` (1.600 bits, 1.20 x); unusable" in text
    assert "`bad` (2 x), `worst` (1e+05 x)." in text
    assert f"- **{QWEN}**: usable `good` (1.700 bits, 1.30 x); unusable, 2 times" in text
    assert f"- Options given on {SMOLLM2}: `bad` `follow=0 group=null`." in text
    assert f"Options given on {QWEN}" not in text


def test_every_measured_method_of_both_models_is_drawn_from_the_committed_results(monkeypatch, tmp_path):
    monkeypatch.setattr("energy.reports.docs._METHODS_PICTURE", tmp_path / "methods.svg")
    drawn = marks(ElementTree.parse(draw_method_picture()).getroot())
    rows = json.loads((RESULTS / "quantization.json").read_text(encoding="utf-8"))["rows"]
    measured = {
        f"{one['method']} on {one['model']}" for one in rows if one["model"] in JOULES and "a8" in one["perplexity"]
    }
    assert drawn.keys() == measured


def test_committed_energies_are_of_every_method_but_those_whose_outliers_only_weights_tell():
    joules = json.loads((RESULTS / "method-energies.json").read_text(encoding="utf-8"))["joules"][SMOLLM2]
    rows = json.loads((RESULTS / "quantization.json").read_text(encoding="utf-8"))["rows"]
    measured = {one["method"] for one in rows if one["model"] == SMOLLM2}
    assert measured - joules.keys() == {"billm", "pb-llm", "pb-llm-qat"}
    assert joules["rtn"] < joules["ptq1.61"] < joules["slim-llm"] < joules["digits"]  # 1, 1.4, 2.2 and 3 planes
