"""``tritforge vocabulary MODEL --entries N --out DIR`` as a person types it: folder, bits, healing, bad input."""

import json
import math

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from hw.errors import InputError
from quant import pipeline
from quant.__main__ import main
from quant.llama.loading import load_model
from quant.source import resolve
from quant.vocabulary.cut.entries import kept_entries
from quant.vocabulary.cut.results import CUT_FILE, cut_markdown, read_cut_results
from tests.quant.vocabulary.cut.test_entries import FULL, TEXT, VOCABULARY

SMALL = (
    *("--length", "32", "--windows", "4", "--calibration-windows", "30", "--learned-length", "32"),
    *("--tokens-per-step", "128"),
)


@pytest.fixture(scope="module", params=[True, False], ids=["tied", "own head"])
def folder(request, tmp_path_factory):
    """A random LLaMA over a byte-level BPE of 900 entries, a special token behind them and three rows of no entry."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=904, hidden_size=24, intermediate_size=40, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=request.param, eos_token_id=900,
        bos_token_id=None,
    )  # fmt: skip
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        if parameter.ndim == 2:
            parameter.data.normal_(0, 0.2)
    path = tmp_path_factory.mktemp("bpe") / "tiny-bpe"
    model.save_pretrained(path)
    PreTrainedTokenizerFast(tokenizer_object=FULL, eos_token="<|end|>").save_pretrained(path)
    return path


@pytest.fixture
def run(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    text = tmp_path / "text.txt"
    text.write_text(TEXT)

    def typed(*arguments, generated="0"):
        words = ["--text", str(text), "--calib", str(text), *SMALL, "--generated-windows", generated]
        main(["vocabulary", str(folder), *words, *arguments])
        return capsys.readouterr().out

    return typed


def test_the_folder_is_a_model_of_the_kept_rows_and_its_bits_per_byte_are_a_naive_loops(run, folder, tmp_path):
    out = tmp_path / "cut"
    row = json.loads(run("--entries", "500", "--out", str(out), "--steps", "0", "--json"))
    before, after = (load_model(resolve(str(path))) for path in (folder, out))
    assert after.model.config.vocab_size == 500
    assert after.tokenizer.decode(after.tokenizer.encode(TEXT)) == TEXT
    seen = torch.tensor(FULL.encode(TEXT).ids[: 30 * 32]).tolist()
    kept = kept_entries(VOCABULARY, {one: seen.count(one) for one in set(seen)}, 500)
    assert kept[-1] == 900
    assert after.model.config.eos_token_id == 499
    for cut, full in (
        (after.model.model.embed_tokens.weight, before.model.model.embed_tokens.weight),
        (after.model.lm_head.weight, before.model.lm_head.weight),
    ):
        assert torch.equal(cut, full[kept].half().float())
    for loaded, bits, per_byte in zip((before, after), row["bits_per_byte"], row["tokens_per_byte"], strict=True):
        tokens = loaded.tokenizer.encode(TEXT)
        assert per_byte == pytest.approx(len(tokens) / len(TEXT.encode()))
        nats, size = 0.0, 0
        for start in range(0, 128, 32):
            window = tokens[start : start + 32]
            with torch.no_grad():
                chances = loaded.model(torch.tensor([window])).logits[0].log_softmax(-1)
            nats -= sum(chances[place, window[place + 1]].item() for place in range(31))
            size += len(loaded.tokenizer.decode(window[1:]).encode())
        assert bits == pytest.approx(nats / math.log(2) / size, rel=1e-4)
    tables = 1 if before.model.config.tie_word_embeddings else 2
    assert row["table_bytes"] == [2 * tables * 904 * 24, 2 * tables * 500 * 24]
    assert row["file_bytes"][0] - row["file_bytes"][1] == 2 * tables * 404 * 24


def test_healing_comes_nearer_and_is_in_the_folder(run, folder, tmp_path):
    losses = {}
    for steps, body in (("1", "0"), ("60", "0"), ("60", "0.01")):
        out = tmp_path / f"cut-{steps}-{body}"
        row = json.loads(
            run("--entries", "500", "--out", str(out), "--steps", steps, "--body-rate", body, "--norm-rate", "0.002",
                "--json")
        )  # fmt: skip
        losses[steps, body] = row["loss"]
    assert losses["60", "0"] < 0.8 * losses["1", "0"]
    assert losses["60", "0.01"] < 0.95 * losses["60", "0"]
    name = "model.layers.0.mlp.up_proj.weight"
    full, fixed, moved = (
        load_model(resolve(str(path))).model.get_parameter(name)
        for path in (folder, tmp_path / "cut-60-0", tmp_path / "cut-60-0.01")
    )
    assert torch.equal(fixed, full.half().float())
    assert not torch.equal(moved, fixed)


def test_text_that_the_model_writes_is_learned_from_and_rows_are_kept_once(run, tmp_path):
    file = tmp_path / "rows.json"
    for number in range(2):
        out = str(tmp_path / f"cut{number}")
        printed = run("--entries", "400", "--out", out, "--steps", "2", "--add", str(file), generated="4")
    assert "| 904 -> 400 | 2 x 128 | 0.0001 | as it was |" in printed
    (row,) = read_cut_results(file).rows
    ratio = row.per_token[1] / row.per_token[0]
    assert ratio == pytest.approx(2 ** ((row.bits_per_byte[1] - row.bits_per_byte[0]) / row.tokens_per_byte[0]))
    words = len(TEXT.split()) / len(TEXT.encode())
    assert row.per_word[0] == pytest.approx(2 ** (row.bits_per_byte[0] / words))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--entries", "500"), r"^options: field 'out' is missing|^options: .*out"),
        (("--entries", "200", "--out", "OUT"), r"^entries must be from 257, .* to 900, .*, not 200"),
        (("--entries", "500", "--out", "."), r"^\.: must be a new or empty folder; give another with --out"),
        (("--entries", "500", "--out", "OUT", "--digits", "2"), r"^--digits is of tables in digits, not of a cut"),
        (("--out", "OUT"), r"^options: .*entries"),
    ],
)
def test_bad_input_is_one_line(run, tmp_path, arguments, words):
    with pytest.raises(InputError, match=words):
        run(*(str(tmp_path / "cut") if word == "OUT" else word for word in arguments))
    assert not (tmp_path / "cut").exists()


def test_a_tokenizer_of_another_kind_is_refused(tiny_folder, tmp_path):
    with pytest.raises(InputError, match=r"must be byte-level BPE, not WordLevel"):
        main(["vocabulary", str(tiny_folder), "--entries", "30", "--out", str(tmp_path / "cut")])


@pytest.mark.skipif(not CUT_FILE.is_file(), reason="no rows are committed")
def test_committed_rows_are_sound():
    results = read_cut_results(CUT_FILE)
    assert cut_markdown(results).count("\n") == 1 + len(results.rows)
    for row in results.rows:
        assert row.entries[1] < row.entries[0]
        assert row.tokens_per_byte[0] <= row.tokens_per_byte[1]
