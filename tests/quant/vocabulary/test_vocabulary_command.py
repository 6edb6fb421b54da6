"""``tritforge vocabulary`` as a person types it: a row by its definition, made once, kept; bad input."""

import json

import pytest
import torch
from safetensors.torch import load_file

from hw.errors import InputError
from quant import pipeline
from quant.__main__ import main
from quant.llama.evaluate import perplexity
from quant.procedures.calibrate import token_windows
from quant.quantizer import put_beside
from quant.shapes import LINEAR_KINDS
from quant.vocabulary import train
from quant.vocabulary.results import TABLES_FILE, read_table_results, tables_markdown
from quant.weights.checkpoint import Checkpoint
from tests.quant.tiny import TEXT

SMALL = (
    *("--length", "24", "--windows", "3", "--calibration-windows", "12", "--learned-length", "16"),
    *("--tokens-per-step", "64", "--generated-windows", "4"),
)


@pytest.fixture
def run(tiny_folder, tiny_text, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")

    def typed(*arguments):
        main(["vocabulary", str(tiny_folder), "--text", str(tiny_text), "--calib", str(tiny_text), *SMALL, *arguments])
        return capsys.readouterr().out

    return typed


def test_a_row_holds_the_perplexity_of_the_stored_table_and_its_bits(run, tiny, tmp_path):
    row = json.loads(run("--digits", "2", "--steps", "3", "--json"))
    windows = token_windows(tiny.tokenizer.encode(TEXT), 24, 3, "words")
    assert row["perplexity"]["fp"] == pytest.approx(perplexity(tiny.model, windows, int8=False), rel=1e-6)
    (file,) = (tmp_path / "models").glob("*/table-*/tables.safetensors")
    put_beside(tiny, Checkpoint(file))
    assert row["perplexity"]["a16"] == pytest.approx(perplexity(tiny.model, windows, int8=False), rel=1e-6)
    assert row["perplexity"]["a8"] == pytest.approx(perplexity(tiny.model, windows, int8=True), rel=1e-6)
    # 40 rows of 24 entries: 5 bytes a row and digit, a float16 a row, two a channel.
    bits = 8 * 2 * 40 * 5 + 16 * (40 + 24 + 24)
    assert row["entry_bits"] == pytest.approx(bits / (40 * 24))
    others = tiny.shape.total_parameters - 40 * 24
    assert row["whole_bits"] == pytest.approx((bits + 16 * others) / tiny.shape.total_parameters)
    assert row["divergence"] > 0


def test_a_head_alone_leaves_the_embedding_at_16_bits(run, tiny):
    row = json.loads(run("--digits", "1", "--steps", "0", "--roles", "head", "--json"))
    bits, others = 8 * 40 * 5 + 16 * (40 + 24 + 24), tiny.shape.total_parameters  # the embedding is still there
    assert row["whole_bits"] == pytest.approx((bits + 16 * others) / (others + 40 * 24))
    assert (row["roles"], row["divergence"]) == ("head", None)


def test_the_same_table_is_trained_once_and_its_row_kept_once(run, tmp_path, monkeypatch):
    file = tmp_path / "rows.json"
    arguments = ("--digits", "1", "--steps", "2", "--add", str(file))
    printed = run(*arguments)
    assert "| tiny-llama | 1 | both | 2 x 64 |" in printed

    def refuse(*_, **__):
        raise AssertionError("trained again")

    monkeypatch.setattr(train, "train_tables", refuse)
    assert run(*arguments).splitlines()[2] == printed.splitlines()[2]
    monkeypatch.undo()
    assert len(read_table_results(file).rows) == 1


def test_more_steps_come_nearer_to_full_precision(run):
    few, many = (
        json.loads(run("--digits", "1", "--steps", steps, "--rate", "0.03", "--json"))["divergence"]
        for steps in ("1", "60")
    )
    assert many < 0.7 * few


def test_a_trained_body_is_stored_and_comes_nearer_than_one_that_stays(run, tiny, tmp_path):
    steps = ("--digits", "1", "--steps", "40", "--rate", "0.03", "--json")
    fixed, trained = (json.loads(run(*steps, *more)) for more in ((), ("--body-rate", "0.01")))
    assert trained["divergence"] < 0.9 * fixed["divergence"]
    assert trained["whole_bits"] == fixed["whole_bits"]
    (file,) = (tmp_path / "models").glob("*/table-*/body.safetensors")
    stored = load_file(file)
    assert all(tensor.dtype == torch.float16 for tensor in stored.values())
    put_beside(tiny, Checkpoint(file.with_name("tables.safetensors")))
    moved = 0
    for layer, block in enumerate(tiny.model.model.layers):
        for name, module in block.named_modules():
            kind = name.rpartition(".")[2]
            if kind in LINEAR_KINDS:
                moved += not torch.equal(module.weight, stored[f"{layer}.{kind}"].float())
                module.weight.data = stored[f"{layer}.{kind}"].float()
    assert moved == len(stored) == len(LINEAR_KINDS) * tiny.shape.layers
    windows = token_windows(tiny.tokenizer.encode(TEXT), 24, 3, "words")
    assert trained["perplexity"]["a16"] == pytest.approx(perplexity(tiny.model, windows, int8=False), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--body-rate", "-1"), r"^options: field 'body_rate' should be greater than or equal to 0"),
        (("--digits", "5"), r"^options: field 'digits' should be less than or equal to 4"),
        (("--digits", "0"), r"^options: field 'digits' should be greater than or equal to 1"),
        (("--steps", "-1"), r"^options: field 'steps' should be greater than or equal to 0"),
        (("--device", "tpu9"), r"^device must be one that torch can use here, not 'tpu9'"),
    ],
)
def test_bad_input_is_one_line(run, arguments, words):
    with pytest.raises(InputError, match=words):
        run(*arguments)


def test_an_interrupted_training_starts_anew_and_leaves_no_half_file(run, tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(train, "join_checkpoints", stop)
        with pytest.raises(KeyboardInterrupt):
            run("--digits", "1", "--steps", "2")
    assert not list((tmp_path / "models").glob("*/table-*/tables.safetensors"))
    torch.manual_seed(99)
    assert json.loads(run("--digits", "1", "--steps", "2", "--json"))["steps"] == 2


@pytest.mark.skipif(not TABLES_FILE.is_file(), reason="no rows are committed")
def test_committed_rows_are_sound():
    results = read_table_results(TABLES_FILE)
    assert tables_markdown(results).count("\n") == 1 + len(results.rows)
    for row in results.rows:
        assert 1 < row.perplexity["fp"] <= row.perplexity["a16"] * 1.01
