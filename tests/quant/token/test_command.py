"""``tritforge integer`` as a person types it."""

import json

import pytest

from hw.errors import InputError
from quant import pipeline
from quant.__main__ import main
from quant.token.job import SWEEP
from quant.token.results import TOKEN_RESULTS, read_token_results, token_markdown


@pytest.fixture
def run(tiny_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")

    def typed(*arguments, prompt=("--prompt", "w1 w2"), length="16", calibration="1"):
        main(
            ["integer", str(tiny_folder), *prompt, "--length", length, "--calibration-windows", calibration, *arguments]
        )
        return capsys.readouterr().out

    return typed


def test_it_writes_greedy_tokens_and_says_that_nothing_saturated(run, tiny_text):
    calib = ("--calib", str(tiny_text))
    measured = json.loads(run("--tokens", "5", "--json", *calib))
    assert len(measured["tokens"]) == 5
    assert measured["measured"] == []
    text = run("--tokens", "5", *calib)
    assert text.splitlines()[0].split() == [f"w{token - 1}" for token in measured["tokens"]]
    assert "saturated kernels: 0" in text
    again = json.loads(run("--tokens", "5", "--json", *calib, prompt=("--prompt-ids", "2,3")))
    assert again["tokens"] == measured["tokens"]  # w1 w2 are ids 2 and 3


def test_it_measures_beside_the_float_models_and_adds_a_row(run, tiny_text, tmp_path):
    file, text = tmp_path / "rows.json", str(tiny_text)
    arguments = ("--tokens", "0", "--calib", text, "--text", text, "--windows", "3", "--add", str(file))
    printed = run(*arguments)
    run(*arguments, "--no-rotate", "--key-digits", "5")
    run(*arguments)  # measured again: in its place
    rows = read_token_results(file).rows
    assert [(row.form.key_digits, row.form.rotate) for row in rows] == [(5, False), (4, True)]
    row = rows[1]
    assert (row.model, row.method, row.windows, row.length, row.saturated) == ("tiny-llama", "digits", 3, 16, 0)
    assert row.integer == pytest.approx(row.same_trits * (1 + row.change), rel=1e-9)
    assert abs(row.change) < 0.2
    assert f"{row.integer:9.3f}" in printed
    assert "| tiny-llama, digits | 4 / 3 | yes | 64 | 4 |" in token_markdown(read_token_results(file))


def test_a_sweep_gives_the_rows_that_single_formats_give(run, tiny_text):
    arguments = ("--tokens", "0", "--json", "--calib", str(tiny_text), "--text", str(tiny_text), "--windows", "2")
    swept = json.loads(run(*arguments, "--sweep", "--table-digits", "3"))["measured"]
    assert len(swept) == len(SWEEP)  # the default format is one of them
    assert {row["form"]["table_digits"] for row in swept} == {3}
    for row in (swept[0], swept[2]):
        digits = [f"--{name}-digits={row['form'][f'{name}_digits']}" for name in ("key", "value", "table")]
        turned = "--rotate" if row["form"]["rotate"] else "--no-rotate"
        alone = json.loads(run(*arguments, *digits, turned, "--block", str(row["form"]["block"])))["measured"]
        assert alone == [row]


def test_processes_and_a_finished_run_give_the_same_figures(run, tiny_text, tmp_path):
    text = str(tiny_text)
    arguments = ("--tokens", "0", "--json", "--calib", text, "--text", text, "--windows", "3")
    alone = json.loads(run(*arguments))
    assert json.loads(run(*arguments, "--workers", "2")) == alone
    (checkpoint,) = (tmp_path / "models").glob("*/*/ternary.safetensors")
    assert json.loads(run(*arguments, "--checkpoint", str(checkpoint.parent))) == alone
    with pytest.raises(InputError, match="leave --method and --options out"):
        run(*arguments, "--checkpoint", str(checkpoint.parent), "--method", "rtn")


TRAINED = (
    *("epochs=0", "distill_steps=2", "generated_windows=0", "distill_length=8", "distill_tokens_per_step=16"),
    *("group=8", "flips=0"),
)


@pytest.mark.parametrize("roles", ["both", "head"])
def test_tables_that_a_run_trained_in_digits_are_its_own(run, tiny_text, roles):
    given = [one for option in (*TRAINED, "table_digits=2", f"table_roles={roles}") for one in ("--options", option)]
    arguments = ("--tokens", "0", "--json", "--calib", str(tiny_text), "--text", str(tiny_text), "--windows", "2")
    made = ("--method", "pt-bitnet-full", *given)
    (row,) = json.loads(run(*arguments, *made))["measured"]
    assert row["form"]["table_digits"] == (2 if roles == "both" else 4)  # the embedding alone is rounded here
    if roles == "both":
        assert row["same_trits"] == pytest.approx(row["float_attention"], rel=0.01)  # int8 of a mean row in 10 bits
        with pytest.raises(
            InputError, match=r"^table_digits must be 2, which the run's embedding and head were trained"
        ):
            run(*arguments, *made, "--table-digits", "3")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--prompt-ids", "1,b"), r"^--prompt-ids must be integers joined by commas, not '1,b'$"),
        (("--prompt-ids", "99"), r"^token ids must be 0 to 39, not 99 to 99$"),
        (("--key-digits", "6"), r"^options: field 'key_digits' should be less than or equal to 5"),
        (("--add",), r"^--add and --sweep need --text"),
        (("--method", "nosuch"), r"^method must be one of"),
        (("--tokens", "63"), r"^context must be at most the model's 64 positions, not 65$"),
    ],
)
def test_bad_input_is_one_line(run, tiny_text, arguments, words):
    with pytest.raises(InputError, match=words):
        run(
            "--calib",
            str(tiny_text),
            *arguments,
            prompt=("--prompt", "w1 w2") if "--prompt-ids" not in arguments else (),
        )


def test_committed_rows_are_sound():
    for row in read_token_results(TOKEN_RESULTS).rows:
        assert row.saturated == 0
        assert 1 < row.integer < 1e4
