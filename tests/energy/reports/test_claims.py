"""Claims: sentences and bold cells say what the numbers say."""

import pytest

from energy.claims.compute import ComputeRow
from energy.claims.document import Claims, measure_claims, read_claims, write_claims
from energy.claims.gpu import GpuRow
from energy.claims.systems import SystemRow
from energy.reports.claims import compute_cells, system_cells, verdicts
from hw.errors import InputError


def compute(rival, saved, kind="measured", bits=20):
    return ComputeRow(
        costs="gates:x", node_nm=7, kind=kind, design="tree", accumulator_bits=bits, rival=rival, recipe="r",
        ternary_j=1 - saved, rival_j=1.0,
    )  # fmt: skip


def system(rival, latency, energy, whole, hold="lanes"):
    return SystemRow(
        model="m", context=512, batch=1, hold=hold, rival=rival, size="2x2", latency={"decode": latency},
        compute_energy={"decode": energy}, system_energy={"decode": whole},
    )  # fmt: skip


CLAIMS = Claims(
    array="a",
    memory="d",
    costs="c",
    compute=(compute("int8", 0.75), compute("int8", 0.92, bits=32), compute("fp16", 0.906)),
    systems=(
        system("int8", 0.5, 0.9, 0.7),
        system("int8", -0.01, 0.95, 0.6, "area"),
        system("w2a8", 0.49, -0.2, -0.1),
        SystemRow(model="m", context=512, batch=1, hold="area", rival="w2a8", reason="too large"),
    ),
    gpu=(GpuRow(machine="g", kind="measured", phase="decode", context=1, batch=1, tokens_per_s=2, watts=3),),
)


def test_sentences_count_where_a_claim_is_reached():
    found = verdicts(CLAIMS)
    assert "gates against int8: 91 % of compute energy in 1 of 2, from 75 % to 92 %" in found
    assert "gates against fp16: 91 % of compute energy in 1 of 1, from 91 % to 91 %" in found
    (int8,) = [one for one in found if one.startswith("decode against int8")]
    assert int8 == (
        "decode against int8, 2 machines: latency halves in 1 and grows in 1, 91 % of compute energy in 1, "
        "60 % to 70 % of the whole system's energy"
    )
    (narrow,) = [one for one in found if one.startswith("decode against w2a8")]
    assert "1 machines: latency halves in 0 and grows in 0, 91 % of compute energy in 0, -10 % to -10 %" in narrow
    assert not [one for one in found if one.startswith("prefill")]


def test_cells_that_reach_a_claim_are_bold_and_absent_ones_are_dashes():
    header, rows = compute_cells(CLAIMS)
    assert header[-4:] == ["vs int8", "vs w4a8", "vs w2a8", "vs fp16"]
    assert rows == [
        ["gates:x", "7", "measured", "tree", "20", "75 %", "-", "-", "**91 %**"],
        ["gates:x", "7", "measured", "tree", "32", "**92 %**", "-", "-", "-"],
    ]
    _, rows = system_cells(CLAIMS, "decode")
    assert rows[0][:5] == ["m", "512", "1", "lanes", "**50 %** / 90 % / 70 %"]
    assert rows[0][6] == "49 % / -20 % / -10 %"
    assert rows[1][4:7] == ["-1.0 % / **95 %** / 60 %", "-", "-"]
    assert [row[3] for row in system_cells(CLAIMS, "decode", "area")[1]] == ["area"]


def test_the_file_comes_back_as_it_was_written(tmp_path):
    write_claims(tmp_path / "claims.json", CLAIMS)
    assert read_claims(tmp_path / "claims.json") == CLAIMS


def test_an_unknown_model_is_refused_with_those_there_are():
    with pytest.raises(InputError, match=r"^models must be of llama2-7b, .*not 'gpt'$"):
        measure_claims(["gpt"], lambda *_: None)
