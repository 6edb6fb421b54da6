"""What one register lets take a value lies in one group of columns: a net to more is longer than a cycle."""

import json
from collections import Counter

import pytest
from amaranth.back import rtlil

from hw.arithmetic.registers import COLUMNS_PER_COPY
from hw.config import ArrayConfig
from hw.gateware.accumulator import Accumulator
from hw.gateware.negatives import NegativesCounter
from hw.gateware.weights import WeightTiles
from hw.synthesis.yosys import KEEP_COPIES, run_yosys

WIDE = ArrayConfig(
    name="t", rows=8, cols=4 * COLUMNS_PER_COPY, chain_lanes=4, weight_bus_bits=8 * COLUMNS_PER_COPY, token_tile=8
)  # a word is half a group
WIDE_WORDS = ArrayConfig(**WIDE.model_dump() | {"rows": 32, "weight_bus_bits": 128 * COLUMNS_PER_COPY})  # two groups


def largest(block, folder, port: str) -> int:
    """Most bits of registers or of block RAM ports that hang on one bit of ``port`` (their enables, or addresses)."""
    (folder / "top.il").write_text(rtlil.convert(block, name="top", emit_src=False), encoding="utf-8")
    run_yosys(["read_rtlil top.il", *KEEP_COPIES, "flatten", "opt -full", "write_json top.json"], folder)
    module = json.loads((folder / "top.json").read_text(encoding="utf-8"))["modules"]["top"]
    loads = Counter()
    for cell in module["cells"].values():
        parameters = cell["parameters"]
        width = int(parameters.get("WIDTH", "0"), 2)
        for bit in set(cell["connections"].get(port, [])):
            if not isinstance(bit, str):
                loads[bit] += width
    return max(loads.values())


@pytest.mark.parametrize(
    ("block", "port", "bound"),
    [
        (WeightTiles(WIDE_WORDS), "EN", 2 * 32 // 4 * COLUMNS_PER_COPY),  # a group's trits of one position
        (NegativesCounter(WIDE), "EN", 4 * COLUMNS_PER_COPY),  # a group's counts
        (Accumulator(WIDE), "ADDR", WIDE.accumulator_bits * COLUMNS_PER_COPY),  # a group's sums
    ],
    ids=["tiles", "negatives", "accumulator"],
)
def test_a_flag_or_an_address_reaches_one_group_of_columns(block, port, bound, tmp_path):
    assert largest(block, tmp_path, port) <= bound
