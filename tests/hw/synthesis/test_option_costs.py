"""The committed costs of a core's options are of the variants of today, each named by what it sets."""

import json
from pathlib import Path

from hw.synthesis.option_costs import _BASE, VARIANTS

COMMITTED = json.loads((Path(__file__).parents[3] / "docs" / "results" / "core-options.json").read_text())


def test_every_variant_is_named_by_its_options():
    for name, fields in VARIANTS.items():
        spelled = ", ".join(f"{field}: {str(value).lower()}" for field, value in fields.items())
        assert name in (spelled or "none", "all")
    assert VARIANTS["all"] == (
        VARIANTS["planes: 2"] | VARIANTS["group_exponent_bits: 2"] | VARIANTS["results: int8, sum_of_x: true"]
    )


def test_committed_rows_are_of_the_variants_of_today():
    assert list(COMMITTED["cores"]) == list(VARIANTS)
    for field, value in COMMITTED["array"].items():
        assert getattr(_BASE, field) == value
    for name, row in COMMITTED["cores"].items():
        config = _BASE.model_copy(update=VARIANTS[name])
        assert row["latency"] == config.pipeline_latency, name
