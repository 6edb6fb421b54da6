"""Sobol indices: of a sum they are the shares of the parts' variances, width squared over twelve, by hand."""

import json

import pytest

pytest.importorskip("SALib")

from energy.__main__ import main
from energy.job import Job, Rivals, simulate_machines
from energy.sobol import check_samples, sobol_indices
from hw.errors import InputError
from quant.shapes import load_shape

JOB = Job(model="stories260K", array="8x8", prefill=8, decode=2)


@pytest.fixture(scope="module")
def summary():
    return simulate_machines(JOB, load_shape(JOB.model), None, Rivals(rivals="int8"))[0]


def test_an_energy_is_a_sum_whose_indices_are_shares_of_variance(summary):
    energy, _ = sobol_indices(summary, 1024)
    parts = summary.ternary.phase("decode").joules_per_token
    variances = {part: (cost.high - cost.low) ** 2 / 12 for part, cost in parts.items()}
    whole = sum(variances.values())
    for index in energy.indices:
        share = variances[index.part] / whole
        assert index.total == pytest.approx(share, abs=0.02)
        assert index.first == pytest.approx(share, abs=0.04)
    assert energy.deviation == pytest.approx(whole**0.5, rel=0.02)
    assert energy.mean == pytest.approx(sum((cost.low + cost.high) / 2 for cost in parts.values()), rel=0.01)
    assert [one.total for one in energy.indices] == sorted((one.total for one in energy.indices), reverse=True)


def test_what_is_saved_lies_between_the_ends_and_has_parts_of_both(summary):
    _, saved = sobol_indices(summary, 256)
    own, rival = (machine.phase("decode").total_j_per_token for machine in summary.machines)
    assert saved.rival == "int8"
    assert min(1 - own.high / rival.low, 0) < saved.mean < 1 - own.low / rival.high
    assert sum(one.total for one in saved.indices) > 0.9  # interactions count several times


@pytest.mark.parametrize("samples", [0, 1, 3, 1000, 1 << 17, -2])
def test_samples_that_are_no_power_of_two_are_refused(samples):
    with pytest.raises(InputError, match=f"sobol must be a power of 2 from 2 to 65536, such as 1024, not {samples}"):
        check_samples(samples)


def test_indices_are_printed_and_kept(tmp_path, capsys):
    words = ["--model", "stories260K", "--array", "8x8", "--prefill", "8", "--decode", "2", "--shapes-only"]
    main(["sim", *words, "--out", str(tmp_path), "--sobol", "64"])
    assert "Sobol" in capsys.readouterr().out
    kept = json.loads((tmp_path / "energy.json").read_text())["sobol"]
    assert [one["rival"] for one in kept] == ["", "int8", "fp16"]
    assert {"part", "first", "total", "first_confidence", "total_confidence"} == set(kept[0]["indices"][0])
