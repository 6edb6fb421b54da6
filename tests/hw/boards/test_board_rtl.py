"""The shipped host program, over a pseudo-terminal, against the very Verilog of a board's top level under Icarus.

``test_simulation.py`` plays the same on the Verilated top in a tenth of the time; this is the second simulator.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from hw.boards.catalog import Board, board_config, load_board
from hw.boards.project import write_board
from hw.boards.top import TOP_NAME
from hw.golden import gemm
from hw.host.protocol import BAUD
from tests.hw.gateware.rtl import VENDOR_MODELS
from tests.hw.icarus import run_bench

ARRAY = """
name: small
rows: 4
cols: 2
weight_bus_bits: 8
token_tile: 4
"""


def play(board: Board, scenarios: list[dict], folder: Path) -> list[dict]:
    """Build the board's own Verilog with a small array and run every scenario on it."""
    (folder / "small.yaml").write_text(ARRAY)
    paths = write_board(board, board_config(board, str(folder / "small.yaml")), folder / "board")
    plan = {"baud": BAUD, "clock_ps": 2 * round(0.5e12 / board.clock_hz), "scenarios": scenarios}
    (folder / "plan.json").write_text(json.dumps(plan))
    cells = [Path(__file__).parent / "data" / f"{name}.v" for name in ("ehxplll", "dcca")]
    models = [*VENDOR_MODELS["ecp5"], *cells] if board.family == "ecp5" else []
    environment = {"TRITFORGE_BENCH": str(folder)}
    run_bench([paths[0], *models], TOP_NAME, "tests.hw.boards.board_bench", folder, environment, tests=1)
    return json.loads((folder / "outcomes.json").read_text())


@pytest.mark.slow
def test_host_program_and_icebreaker_top_from_self_test_to_unplugged_cable(tmp_path):
    rng = np.random.default_rng(11)
    q, trits = rng.integers(-127, 128, (5, 11), dtype=np.int8), rng.integers(-1, 2, (3, 11), dtype=np.int8)
    np.save(tmp_path / "q.npy", q)
    np.save(tmp_path / "t.npy", trits)
    config = str(tmp_path / "board" / "config.json")
    operands = ["--weights", str(tmp_path / "t.npy"), "--activations", str(tmp_path / "q.npy")]
    patient = ["--timeout", "100"]
    selftest, product, wrong_baud, unplugged, again = play(
        load_board("icebreaker"),
        [
            {"arguments": ["--selftest", "--json", "--config", config, *patient]},
            {"arguments": [*operands, "--out", str(tmp_path / "sums.npy"), "--config", config, *patient]},
            {"arguments": ["--timeout", "0.2"], "bit_scale": 1.4},
            {"arguments": ["--selftest", *patient], "unplug_after_bits": 2000},
            {"arguments": ["--json", *patient]},
        ],
        tmp_path,
    )
    assert selftest["returncode"] == 0, selftest["err"]
    verdicts = json.loads(selftest["out"])
    assert [case["fault"] for case in verdicts["cases"]] == [""] * 7
    assert verdicts["repetitions"] == 0

    assert product["returncode"] == 0, product["err"]
    np.testing.assert_array_equal(np.load(tmp_path / "sums.npy"), gemm(q, trits))

    assert wrong_baud["returncode"] == 2
    assert wrong_baud["err"].startswith("error: no answer to HELLO in 5 tries: ")

    assert unplugged["returncode"] == 2
    assert unplugged["err"].splitlines()[-1].endswith("; was the board unplugged?")

    assert again["returncode"] == 0, again["err"]
    assert json.loads(again["out"])["array"]["rows"] == 4


@pytest.mark.slow
def test_host_program_and_ulx3s_top_with_carry_cells_and_pll(tmp_path):
    (selftest,) = play(load_board("ulx3s-85f"), [{"arguments": ["--selftest", "--json", "--timeout", "100"]}], tmp_path)
    assert selftest["returncode"] == 0, selftest["err"]
    assert [case["fault"] for case in json.loads(selftest["out"])["cases"]] == [""] * 7
