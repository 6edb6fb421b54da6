"""The main job on a model with weights: measured and cached by hash; methods compared with their hardware cost."""

import json

import pytest

torch = pytest.importorskip("torch", reason="the quant extra is not installed")

from energy.__main__ import main  # noqa: E402
from hw.errors import InputError  # noqa: E402
from tests.quant.tiny import TEXT, save_tiny_llama  # noqa: E402


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a tiny LLaMA and a text."""
    folder = tmp_path_factory.mktemp("weights")
    save_tiny_llama(folder / "tiny-llama")
    (folder / "words.txt").write_text(TEXT)
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def in_the_workplace(workplace, monkeypatch):
    monkeypatch.chdir(workplace)


JOB = ["--model", "tiny-llama", "--array", "8x8", "--prefill", "8", "--decode", "2"]
JOB += ["--text", "words.txt", "--calib", "words.txt", "--json"]


def _sim(*extra):
    main(["sim", *JOB, "--method", "rtn", "--out", "out", *extra])


def test_statistics_and_perplexities_are_measured_and_printed(capsys):
    _sim()
    summary = json.loads(capsys.readouterr().out)
    assert set(summary["quality"]["perplexity"]) == {"fp", "fp_a8", "a16", "a8"}
    assert summary["statistics"]
    assert all(s["measured"] for s in summary["statistics"].values())
    assert all("replay of" in s["origin"] for s in summary["statistics"].values())
    zero = {s["zero_fraction"] for name, s in summary["statistics"].items() if name.startswith("decode")}
    assert len(zero) > 1  # each kind of linear has its own


def test_second_run_neither_quantizes_nor_replays_again(capsys, monkeypatch):
    _sim()
    first = capsys.readouterr().out
    monkeypatch.setattr("quant.quantizer.run_job", lambda *_: pytest.fail("quantized again"))
    monkeypatch.setattr("sim.replay.replay", lambda *_: pytest.fail("replayed again"))
    _sim()
    assert capsys.readouterr().out == first


def test_another_array_replays_but_does_not_quantize_again(capsys, monkeypatch):
    _sim()
    monkeypatch.setattr("quant.quantizer.run_job", lambda *_: pytest.fail("quantized again"))
    main(["sim", *("4x16" if word == "8x8" else word for word in JOB), "--method", "rtn", "--out", "out"])
    assert "4x16" in capsys.readouterr().out


def test_shapes_only_says_assumed(capsys):
    _sim("--shapes-only")
    summary = json.loads(capsys.readouterr().out)
    assert summary["quality"] is None
    assert not any(s["measured"] for s in summary["statistics"].values())


def test_k_and_v_are_simulated_as_perplexity_was_measured_or_a_note_says_so(capsys):
    able = [text for field in ("planes=5", "digits=true", "lane_loading=true") for text in ("--array-fields", field)]
    _sim(*able, "--kv", "digits:5/2,rotate")
    summary = json.loads(capsys.readouterr().out)
    assert {"fp_kv", "a8_kv"} <= set(summary["quality"]["perplexity"])
    notes = " ".join(summary["notes"])
    assert "K in 5 and V in 2 balanced-ternary digits, q and k rotated" in notes
    assert "perplexity with K and V in" not in notes
    _sim(*able)
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert "perplexity with K and V in float, digits:4/3,rotate simulated; --kv digits:4/3,rotate measures" in notes[-1]
    _sim("--kv", "digits:5/2,rotate")
    notes = json.loads(capsys.readouterr().out)["notes"]
    assert notes[-1] == "perplexity with K and V in digits:5/2,rotate, cache of 16 bits simulated"


def test_two_planes_cost_a_second_pass(workplace, capsys):
    main(["compare", *JOB, "--out", "cmp", "--methods", "rtn,ptqtp"])
    rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["ptqtp"]["planes"] == 2
    assert rows["ptqtp"]["true_bits"] > 1.9 * rows["rtn"]["true_bits"]
    assert rows["ptqtp"]["decode_tokens_per_s"] < rows["rtn"]["decode_tokens_per_s"]
    assert rows["unquantized (fp16 array)"]["decode_array_j_per_token"] > rows["ptqtp"]["decode_array_j_per_token"]
    assert {path.name for path in (workplace / "cmp").iterdir()} == {"comparison.json", "report.html"}


def test_finished_runs_are_compared_by_their_manifests_alone(workplace, capsys, monkeypatch):
    main(["compare", *JOB, "--out", "cmp", "--methods", "rtn,ptqtp"])
    expected = json.loads(capsys.readouterr().out)["rows"]
    finished = {}
    for path in (workplace / "build" / "models").rglob("manifest.json"):
        finished[json.loads(path.read_text())["method"]] = path
    monkeypatch.setattr("quant.quantizer.run_job", lambda *_: pytest.fail("quantized again"))
    given = [text for method in ("rtn", "ptqtp") for text in ("--manifest", str(finished[method]))]
    main(["compare", *JOB, "--out", "again", *given])
    assert json.loads(capsys.readouterr().out)["rows"] == expected


def test_runs_on_other_texts_are_not_compared(workplace, capsys):
    main(["compare", *JOB, "--out", "cmp", "--methods", "rtn"])
    path = next((workplace / "build" / "models").rglob("manifest.json"))
    other = workplace / "other.json"
    document = json.loads(path.read_text())
    del document["seal"]  # which tells of edits
    other.write_text(json.dumps(document | {"evaluation": f"another {document['evaluation']}"}))
    with pytest.raises(InputError, match=r"other\.json: evaluation must be .* as in"):
        main(["compare", *JOB, "--manifest", str(path), "--manifest", str(other)])


def test_a_run_that_was_not_evaluated_is_refused(workplace):
    main(["compare", *JOB, "--out", "cmp", "--methods", "rtn"])
    path = next((workplace / "build" / "models").rglob("manifest.json"))
    document = json.loads(path.read_text())
    del document["perplexity"]["a8"], document["seal"]
    (workplace / "bare.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"bare\.json: perplexity lacks a8; evaluate again"):
        main(["compare", *JOB, "--manifest", "bare.json"])
