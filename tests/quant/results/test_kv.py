"""``tritforge kv`` as a person types it: rows by their definitions, finished runs, refusals, the committed file."""

import json
import math

import pytest

from hw.errors import InputError
from quant import pipeline
from quant.__main__ import main
from quant.job import QuantJob
from quant.kv.formats import parse_kv
from quant.llama.cached import cached_attention
from quant.llama.evaluate import perplexity
from quant.pipeline import quantize
from quant.procedures.calibrate import token_windows
from quant.quantizer import apply_checkpoint
from quant.results.kv_job import SWEEP
from quant.results.kv_table import KV_FILE, kv_markdown, read_kv_results
from tests.quant.tiny import TEXT

SAMPLE = ("--windows", "3", "--length", "24")


@pytest.fixture
def run(tiny_folder, tiny_text, capsys):
    def typed(*arguments, text=tiny_text):
        main(["kv", str(tiny_folder), "--text", str(text), *SAMPLE, *arguments])
        return capsys.readouterr().out

    return typed


def test_rows_are_perplexities_beside_float_attention(run, tiny):
    float_, digits, kivi = json.loads(run("--kv", "digits:2,rotate", "--kv=kivi:2,group=2,residual=4", "--json"))
    windows = token_windows(tiny.tokenizer.encode(TEXT), 24, 3, "words")
    assert float_["perplexity"] == pytest.approx(perplexity(tiny.model, windows, int8=True), rel=1e-6)
    with cached_attention(tiny.model, parse_kv("digits:2,rotate")):
        assert digits["perplexity"] == pytest.approx(perplexity(tiny.model, windows, int8=True), rel=1e-6)
        alone = [math.log(perplexity(tiny.model, one[None], int8=True)) for one in windows]
    plain = [math.log(perplexity(tiny.model, one[None], int8=True)) for one in windows]
    changes = [a - b for a, b in zip(alone, plain, strict=True)]
    mean = sum(changes) / 3
    assert digits["change"] == pytest.approx(math.expm1(mean), rel=1e-3)
    spread = math.sqrt(sum((one - mean) ** 2 for one in changes) / 2 / 3)
    assert digits["standard_error"] == pytest.approx(spread, rel=1e-3)
    assert (float_["kv"], float_["change"], float_["bits"], float_["worst_head"]) == ("float", 0, 16, None)
    assert digits["rotate"]
    assert digits["bits"] == pytest.approx(2 * 2 * 8 / 6 + 16 / 6)  # heads of 6: two bytes a plane
    assert 0.5 < digits["min_cosine"] < digits["mean_cosine"] < 1
    assert kivi["windows"] == 3
    assert kivi["length"] == 24


def test_a_finished_run_is_measured_without_quantizing_again(run, tiny, tiny_folder, tiny_text, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    job = QuantJob(
        model=str(tiny_folder), method="rtn", text=tiny_text, calib=tiny_text, windows=3, length=24, recorded_tokens=8
    )
    done = quantize(job)
    file = tmp_path / "kv.json"
    printed = run("--runs", str(done.folder), "--kv", "digits:3", "--add", str(file))
    rows = read_kv_results(file).rows
    assert [(row.weights, row.kv) for row in rows] == [
        ("float", "float"), ("float", "digits:3"), ("rtn", "float"), ("rtn", "digits:3"),
    ]  # fmt: skip
    assert rows[2].perplexity == pytest.approx(done.manifest.perplexity["a8"], rel=1e-6)
    apply_checkpoint(tiny, done.checkpoint)
    windows = token_windows(tiny.tokenizer.encode(TEXT), 24, 3, "words")
    with cached_attention(tiny.model, parse_kv("digits:3")):
        assert rows[3].perplexity == pytest.approx(perplexity(tiny.model, windows, int8=True), rel=1e-6)
    assert f"`rtn` ({done.manifest.weights_sha256[:8]})" in printed
    run("--runs", str(done.folder), "--no-own-weights", "--kv", "int8", "--add", str(file))
    again = read_kv_results(file).rows
    assert [(row.weights, row.kv) for row in again[2:]] == [("rtn", "float"), ("rtn", "digits:3"), ("rtn", "int8")]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("--kv", "digit:4"),
            r"^options: field 'kv' KV format must be such as .* not 'digit:4'; did you mean 'digits'",
        ),
        (("--kv", "wkvquant:4,group=4"), r"group must divide the head size 6, not 4; one of 1, 2, 3, 6 does"),
        (("--kv", "int8", "--runs", "nowhere"), r"^nowhere/manifest\.json: "),
        (("--kv", "int8", "--device", "nosuch"), r"^device must be one that torch can use here, not 'nosuch'"),
    ],
)
def test_bad_input_is_one_line(run, arguments, words):
    with pytest.raises(InputError, match=words):
        run(*arguments)


def test_a_run_of_other_weights_and_a_damaged_file_are_refused(run, tiny_text, tmp_path, monkeypatch):
    from tests.quant.tiny import save_tiny_llama

    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    other = save_tiny_llama(tmp_path / "other-llama", seed=1)
    job = QuantJob(model=str(other), method="rtn", text=tiny_text, calib=tiny_text, windows=1, length=24)
    folder = quantize(job).folder
    with pytest.raises(InputError, match=r"was made from other weights .*; give the model '.*other-llama'$"):
        run("--runs", str(folder), "--no-own-weights", "--kv", "int8")
    (tmp_path / "kv.json").write_text("{")
    with pytest.raises(InputError, match=r"kv\.json"):
        run("--kv", "int8", "--add", str(tmp_path / "kv.json"))


def test_every_format_of_the_sweep_is_known_and_fits_usual_heads():
    for text in SWEEP:
        for head in (64, 96, 128):
            parse_kv(text).check(head)


def test_committed_rows_are_sound():
    results = read_kv_results(KV_FILE)
    for row in results.rows:
        assert row.kv == "float" or parse_kv(row.kv).spelled == row.kv
        assert -1 <= row.min_cosine <= row.mean_cosine <= 1
    assert kv_markdown(results).count("\n") == len(results.rows) + 1
