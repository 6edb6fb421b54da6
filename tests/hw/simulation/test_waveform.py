"""The Amaranth simulator plays whole GEMMs: golden results, every edge's cause as in the cycle models, a waveform."""

import json
from collections import Counter

import numpy as np
import pytest

from hw.__main__ import main
from hw.config import ArrayConfig
from hw.errors import InputError
from hw.job import golden_results
from hw.simulation.command import _PICTURE
from hw.simulation.timing_diagram import timing_svg
from hw.simulation.waveform import play
from tests.hw.gateware.rtl import random_case
from tests.naive_cycles import naive_cycles

PLAIN = ArrayConfig(name="p", rows=4, cols=3, chain_lanes=2, weight_bus_bits=8, token_tile=3)
OPTIONS = {"planes": 2, "group_exponent_bits": 2, "sum_of_x": True, "results": "int8", "packing": "5in8"}


@pytest.mark.parametrize("config", [PLAIN, PLAIN.model_copy(update=OPTIONS)], ids=["plain", "options"])
def test_random_gemms_in_the_amaranth_simulator(config):
    """``play`` compares the results itself; its notes must add up to the counters of the naive model."""
    rng = np.random.default_rng(8)
    for index in range(8):
        case = random_case(rng, config, stalls=index % 2 == 1)
        offers = [text[:60] for text in (case.weight_offers, case.activation_offers, case.result_readies)]
        edges = play(config, case.job, offers)
        options = {"planes": case.formats.planes, "row_scales": case.formats.row_scales}
        patterns = [[int(bit) for bit in text] for text in offers]
        expected = naive_cycles((case.m, case.n, case.k), config, *patterns, **options)
        causes = Counter(edge.cause for edge in edges)
        assert {name: causes[name] for name in expected if name != "cycles"} | {"cycles": len(edges)} == expected


def test_wrong_results_are_not_passed_over(monkeypatch):
    case = random_case(np.random.default_rng(0), PLAIN, stalls=False)
    monkeypatch.setattr("hw.simulation.waveform.golden_results", lambda job, config: golden_results(job, config) + 1)
    with pytest.raises(RuntimeError, match="results differ"):
        play(PLAIN, case.job)


def test_the_command_writes_a_waveform_of_every_signal(tmp_path, capsys):
    path = tmp_path / "one.vcd"
    arguments = ["--array", "3x5", "--gemm", "2x6x4", "--weights", "0001", "--out", str(path), "--json"]
    main(["wave", *arguments])
    told = json.loads(capsys.readouterr().out)
    assert told["waveform"] == str(path)
    assert [edge["cause"] for edge in told["edges"][:4]] == ["weight_stall"] * 3 + ["fill_drain"]
    text = path.read_text()
    assert text.startswith("$")
    assert all(f" {name} " in text for name in ("swap", "shadow_full", "issue", "weights__valid", "results__ready"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gemm", "3x0x6"], r"^gemm must be MxNxK, three numbers above 0 such as 3x8x6, not '3x0x6'$"),
        (["--results", "012"], r"^results must be a pattern of 0 and 1, not '012'$"),
        (["--seed", "-1"], r"^seed must be at least 0, not -1$"),
        (["--array", ""], r"^array must be "),
        (["--token", "3"], r"^--token must be left out without --program: a GEMM has none$"),
        (["--docs", "--gemm", "2x2x2"], r"^--gemm must be left out with --docs, whose pictures are of examples$"),
    ],
)
def test_wrong_options_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        main(["wave", *arguments])


def test_the_picture_in_the_docs_is_that_of_this_gateware():
    assert _PICTURE.read_text() == timing_svg(), "renew it: python -m hw wave --docs"
