"""A rewritten folder of another family is the same function when it is loaded again, or the rewrite is refused."""

import pytest

from hw.errors import InputError
from quant.llama.adapt import file_state
from quant.rewrite import rewrite as module
from quant.rewrite.job import RewriteJob
from quant.rewrite.rewrite import rewrite
from tests.quant.families import save_family


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text("the winter river ran under a stone bridge and over into the northern light. " * 60)
    return path


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("qwen3", {"rotate": 1, "balance": 0.5}),
        ("phi3", {"rotate": 1}),
        ("granite", {"rotate": 2, "smooth": 0.5}),
        ("gemma2", {"balance": 0.5}),
        ("llama with biases", {"rotate": 3, "balance": 0.3}),
        ("llama with biases", {"balance_cache": 0.7}),
        ("qwen3", {"rotate": 1, "balance_cache": 1}),
        ("gemma3", {"balance_cache": 0.5}),
        ("smollm3", {"balance": 0.5, "balance_cache": 0.5}),
        ("phi3", {"balance_cache": 0.5}),
    ],
)
def test_the_reloaded_folder_has_the_models_logits(name, options, tmp_path, text):
    save_family(name, tmp_path / "model")
    job = RewriteJob(model=str(tmp_path / "model"), out=tmp_path / "out", calib=text, length=64, **options)
    assert rewrite(job).logits_differ < 1e-4
    assert (tmp_path / "out" / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("gemma3", {"rotate": 1}, "norms behind attention and MLP do not commute"),
        ("olmo2", {"balance": 0.5}, "has no norms before attention and MLP"),
    ],
)
def test_what_has_no_place_for_factors_is_refused(name, options, message, tmp_path, text):
    save_family(name, tmp_path / "model")
    job = RewriteJob(model=str(tmp_path / "model"), out=tmp_path / "out", calib=text, length=64, **options)
    with pytest.raises(InputError, match=message):
        rewrite(job)


def test_a_folder_of_another_function_is_not_written(tmp_path, text, monkeypatch):
    save_family("phi3", tmp_path / "model")

    def wrong(model):
        return {name: value * 1.1 if "down_proj" in name else value for name, value in file_state(model).items()}

    monkeypatch.setattr(module, "file_state", wrong)
    job = RewriteJob(model=str(tmp_path / "model"), out=tmp_path / "out", calib=text, length=64, rotate=1)
    with pytest.raises(InputError, match=r"logits of the rewritten folder must be those of the model within 0\.001"):
        rewrite(job)
    assert not (tmp_path / "out").exists()
