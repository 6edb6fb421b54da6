"""Claim: a run whose residual stream was rotated opens again as the model that was measured, its head untied."""

import pytest

torch = pytest.importorskip("torch", reason="the quant extra is not installed")

from transformers import AutoModelForCausalLM  # noqa: E402

from quant import pipeline  # noqa: E402
from quant.exports.export import export  # noqa: E402
from quant.exports.finished import open_finished  # noqa: E402
from quant.exports.job import ExportJob  # noqa: E402
from quant.job import QuantJob  # noqa: E402
from quant.llama.evaluate import perplexity  # noqa: E402
from quant.pipeline import quantize  # noqa: E402
from quant.procedures.calibrate import token_windows  # noqa: E402
from tests.quant.tiny import TEXT, save_tiny_llama  # noqa: E402


def test_it_opens_as_it_was_measured(tmp_path, tiny_text, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    folder = save_tiny_llama(tmp_path / "even", heads=6)
    job = QuantJob(
        model=str(folder), method="roste", text=tiny_text, calib=tiny_text, length=32, windows=2,
        calibration_windows=4, recorded_tokens=4, options={"rotated": "all", "epochs": 1, "tokens_per_step": 64},
    )  # fmt: skip
    done = quantize(job)
    assert not done.manifest.shape.tie_embeddings
    assert set(done.checkpoint.tables()) == {"embed_tokens", "lm_head"}
    finished = open_finished(done.folder)
    windows = token_windows(finished.loaded.tokenizer.encode(TEXT), 32, 2, "words")
    again = perplexity(finished.loaded.model, windows, int8=False)
    assert again == pytest.approx(done.manifest.perplexity["a16"], rel=1e-6)
    export(ExportJob(checkpoint=done.folder, format="hf", out=tmp_path / "hf"))
    exported = AutoModelForCausalLM.from_pretrained(tmp_path / "hf")
    with torch.no_grad():
        torch.testing.assert_close(exported(windows).logits, finished.loaded.model(windows).logits, rtol=0, atol=1e-4)
