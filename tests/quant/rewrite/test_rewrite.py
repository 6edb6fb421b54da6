"""``rewrite`` end to end: a folder with the same function and the same tokens, which every method quantizes."""

import json
import os
import shutil

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from hw.errors import InputError
from quant import pipeline
from quant.__main__ import main
from quant.job import QuantJob
from quant.llama.loading import load_model
from quant.pipeline import quantize
from quant.rewrite.job import RewriteJob
from quant.rewrite.rewrite import rewrite
from quant.source import resolve
from tests.quant.tiny import TEXT, VOCABULARY


@pytest.fixture
def original(tiny_folder, tmp_path):
    """The tiny tokenizer with a model of heads of 8, which have a Hadamard matrix."""
    folder = tmp_path / "original"
    shutil.copytree(tiny_folder, folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=24,
        intermediate_size=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        rope_theta=3e4,
        rms_norm_eps=1e-3,
    )
    model = LlamaForCausalLM(config)
    for parameter in model.parameters():
        parameter.data.normal_(0.2, 0.3)
    model.save_pretrained(folder)
    return folder


@pytest.fixture
def job(original, tiny_text, tmp_path):
    def make(**fields):
        defaults = {"model": str(original), "out": tmp_path / "other", "calib": tiny_text, "length": 32}
        return RewriteJob(**{**defaults, "calibration_windows": 4, **fields})

    return make


def logits(folder, tokens):
    return load_model(resolve(str(folder))).model(torch.tensor([tokens])).logits


@pytest.mark.parametrize("fields", [{"rotate": 3}, {"balance": 0.5}, {"rotate": 3, "balance": 0.25}, {"smooth": 0.5}])
def test_folder_is_the_same_function_of_the_same_tokens(job, original, fields):
    done = rewrite(job(**fields))
    tokens = load_model(resolve(str(original))).tokenizer.encode(TEXT)
    assert load_model(resolve(str(done.folder))).tokenizer.encode(TEXT) == tokens
    before, after = (logits(folder, tokens[:48]) for folder in (original, done.folder))
    assert torch.allclose(after, before, rtol=1e-4, atol=1e-4 * before.abs().max())
    assert done.logits_differ < 1e-5


def test_every_file_has_the_permissions_that_the_umask_leaves(job):
    expected = 0o666 & ~_umask()
    found = {path.name: path.stat().st_mode & 0o777 for path in rewrite(job(rotate=0)).folder.iterdir()}
    assert found == dict.fromkeys(found, expected)


@pytest.mark.parametrize(("fields", "tied"), [({"rotate": 0}, False), ({"balance": 0.5}, True)])
def test_dimensions_follow(job, original, fields, tied):
    done = rewrite(job(**fields))
    before, after = resolve(str(original)).shape, resolve(str(done.folder)).shape
    assert after.tie_embeddings == tied
    ignored = {"name", "source", "tie_embeddings"}
    assert after.model_dump(exclude=ignored) == before.model_dump(exclude=ignored)
    assert after.total_parameters == before.total_parameters + (0 if tied else before.embedding_parameters)
    assert done.file_bytes > 4 * after.total_parameters


def test_result_is_what_other_methods_quantize(job, original, tiny_text, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    done = rewrite(job(rotate=1, balance=0.25))
    small = {"text": tiny_text, "calib": tiny_text, "length": 32, "windows": 2, "calibration_windows": 8}
    for method in ("rtn", "pt-bitnet", "gptq-2bit"):
        before, after = (
            quantize(QuantJob(model=str(folder), method=method, **small)) for folder in (original, done.folder)
        )
        assert after.manifest.perplexity["fp"] == pytest.approx(before.manifest.perplexity["fp"], rel=1e-4)
        assert after.manifest.true_bits == before.manifest.true_bits
        assert after.checkpoint.path.read_bytes() != before.checkpoint.path.read_bytes()


def test_same_seed_gives_the_same_file_and_another_another(job, tmp_path):
    one, again, other = (
        (rewrite(job(rotate=seed, out=tmp_path / name)).folder / "model.safetensors").read_bytes()
        for name, seed in (("one", 5), ("again", 5), ("other", 6))
    )
    assert one == again
    assert one != other


def test_llama2c_file_keeps_its_tokens(stories, tmp_path):
    done = rewrite(RewriteJob(model=str(stories / "stories260K.bin"), out=tmp_path / "other", rotate=0))
    before, after = (load_model(resolve(str(path))) for path in (stories / "stories260K.bin", done.folder))
    text = "Once upon a time, Zoë had 3 cats.\nThe end."
    tokens = before.tokenizer.encode(text)
    assert after.tokenizer.encode(text) == tokens
    assert torch.allclose(
        *(loaded.model(torch.tensor([tokens])).logits for loaded in (before, after)), rtol=1e-3, atol=1e-3
    )


@pytest.mark.slow
def test_gguf_keeps_its_tokens(smollm2, tmp_path):
    done = rewrite(RewriteJob(model="smollm2-135m", out=tmp_path / "other", rotate=0))
    after = load_model(resolve(str(done.folder)))
    text = "def f(x):\n\treturn x  # naïve 12345\n\n= Title =\n<|im_start|>user"
    tokens = smollm2.tokenizer.encode(text)
    assert after.tokenizer.encode(text) == tokens
    before, rotated = (loaded.model(torch.tensor([tokens])).logits for loaded in (smollm2, after))
    assert (rotated - before).norm() < 1e-5 * before.norm()


def test_folder_holds_the_facts(job):
    done = rewrite(job(rotate=2, balance=0.5))
    facts = json.loads((done.folder / "rewrite.json").read_text())
    assert (facts["schema"], facts["rotate"], facts["balance"]) == ("tritforge.rewrite", 2, 0.5)
    assert facts["calibration"].startswith("words.txt (")
    assert facts["dtype"] == "float32"


def test_nothing_stays_of_an_interrupted_rewrite(job, tmp_path, monkeypatch):
    def kill(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("quant.rewrite.rewrite.save_tokenizer", kill)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt):
        rewrite(job(rotate=0))
    assert sorted(tmp_path.iterdir()) == before


def test_folder_that_holds_something_is_refused(job, original, tmp_path):
    with pytest.raises(InputError, match=r"original: must be a new or empty folder; give another with --out"):
        rewrite(job(rotate=0, out=original))
    (tmp_path / "empty").mkdir()
    assert rewrite(job(rotate=0, out=tmp_path / "empty")).folder.is_dir()


def test_wrong_input_is_one_line(job, tiny_folder, tmp_path):
    with pytest.raises(InputError, match=r"nothing to do; give --rotate SEED, --balance BETA, --smooth ALPHA or --b"):
        rewrite(job())
    with pytest.raises(InputError, match=r"give one of them"):
        rewrite(job(balance=0.5, smooth=0.5))
    with pytest.raises(InputError, match=r"^head_dim 6: no Hadamard matrix"):
        rewrite(job(model=str(tiny_folder), rotate=0))
    with pytest.raises(InputError, match=r"calibration text 'words\.txt': 4000 windows of 32 tokens need"):
        rewrite(job(balance=0.5, calibration_windows=4000))
    config = json.loads((tiny_folder / "config.json").read_text()) | {"model_type": "bitnet", "architectures": None}
    shutil.copytree(tiny_folder, tmp_path / "bitnet")
    (tmp_path / "bitnet" / "config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=r"norms in front of o_proj and down_proj"):
        rewrite(job(model=str(tmp_path / "bitnet"), rotate=0))
    assert not (tmp_path / "other").exists()


def test_command_line(original, tiny_text, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    command = ["rewrite", str(original), "--length", "32", "--calib", str(tiny_text), "--out"]
    main([*command, "other", "--rotate", "0", "--balance", "0.5"])
    printed = capsys.readouterr().out
    assert "the same function" in printed
    assert "make quant MODEL=other" in printed
    assert (tmp_path / "other" / "config.json").is_file()
    for option, value in (("--balance", "1.5"), ("--rotate", "-1")):
        with pytest.raises(InputError, match=rf"^options: field '{option[2:]}'") as caught:
            main([*command, "third", option, value])
        assert "\n" not in str(caught.value)
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "rewrite" in capsys.readouterr().out


def _umask():
    value = os.umask(0)
    os.umask(value)
    return value
