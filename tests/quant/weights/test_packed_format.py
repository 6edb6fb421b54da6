"""The reader that docs/packed-format.md prints: its lines, run on every layout, give the solver's weights."""

import re
from pathlib import Path

import numpy as np
import pytest

from quant.weights.checkpoint import write_checkpoint
from tests.quant.weights.test_storage import CASES

PAGE = Path(__file__).parents[3] / "docs" / "packed-format.md"
READER, EXAMPLE = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("case", CASES)
def test_the_pages_reader_gives_every_layouts_weights(case, tmp_path):
    solution, path = CASES[case], tmp_path / "ternary.safetensors"
    write_checkpoint(path, {(0, "q_proj"): solution})
    place: dict = {}
    exec(READER, place)
    exec(EXAMPLE.replace("build/models/smollm2-135m/RUN/ternary.safetensors", str(path)), place)
    assert np.allclose(place["w"], solution.dense().numpy(), rtol=1e-6, atol=1e-7)
    assert np.array_equal(place["trits"](place["linears"]["layers.0.q_proj"], place["own"]), solution.trits.numpy())


def test_arrays_are_views_of_the_mapped_file(tmp_path):
    path = tmp_path / "ternary.safetensors"
    write_checkpoint(path, {(0, "q_proj"): CASES["ternary"]}, {"norm": np.arange(3, dtype=np.float32)})
    place: dict = {}
    exec(READER, place)
    _, arrays = place["open_packed"](path)
    assert all(isinstance(array, np.memmap) for array in arrays.values())
    assert arrays["norms.norm"].tolist() == [0, 1, 2]


def test_every_stored_array_is_described():
    from quant.weights.checkpoint import _PART_OF_ARRAY

    page = PAGE.read_text(encoding="utf-8")
    assert [name for name in _PART_OF_ARRAY if f"`{name}`" not in page] == []
