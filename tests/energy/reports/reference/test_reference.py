"""The reference has every public name and every field, with what the source says of them."""

import re

import pytest

from energy.reports.reference.api import ROOMS, api_tables
from energy.reports.reference.schemas import SCHEMAS, fields_table


@pytest.mark.parametrize("package", list(ROOMS))
def test_every_function_and_class_of_a_public_file_is_listed_with_a_sentence(package):
    text = api_tables(package)
    for line in re.findall(r"^- (.*)$", text, re.MULTILINE):
        assert re.match(r"`[A-Za-z_].*?`: \S", line), line
    assert not re.search(r"^### .*\.(__main__|cli|command)$", text, re.MULTILINE)


def test_a_signature_and_its_sentence():
    text = api_tables("hw")
    sentence = "Per-token symmetric int8: float32 `(m, k)` -> int8 `(m, k)` and float32 scales `(m,)`."
    assert f"- `quantize_tokens(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]`: {sentence}" in text
    assert "### hw.verify.cases" in text


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_every_field_has_a_row(name):
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", fields_table(name), re.MULTILINE))
    for record in SCHEMAS[name]:
        for field in record.model_fields:
            assert field in rows or name == "study-base"


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_every_field_says_what_it_means(name):
    rows = re.findall(r"^\| `(\w+)` \|.*\|(.*)\|$", fields_table(name), re.MULTILINE)
    assert rows
    assert [field for field, about in rows if len(about.strip()) < 8] == []


def test_kinds_bounds_defaults_and_comments():
    text = fields_table("array")
    assert "| `rows` | integer from 1 to 1024 | must be given | lanes of a column, along K |" in text
    assert "| `packing` | one of `2bit`, `5in8` | `2bit` | of trits in memory and on the bus: 2 bits each" in text
    assert "| `token_tile` | integer from 1 | `64` | depth of the accumulator buffer |" in text
    assert "| `zero_fraction` | number from 0 below 1 |  | share of zeros among the trits" in fields_table("job")
