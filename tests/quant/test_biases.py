"""Runs with a constant per output: applied once, counted in the bits, refused where they would be lost."""

import numpy as np
import pytest
import torch

from hw.errors import InputError
from quant import pipeline
from quant.exports.finished import open_finished
from quant.job import QuantJob
from quant.llama.blocks import add_bias, decoder_linears
from quant.llama.evaluate import perplexity
from quant.llama.loading import load_model
from quant.pipeline import quantize
from quant.procedures.calibrate import token_windows
from quant.quantizer import apply_checkpoint
from quant.registry import options_for
from quant.source import resolve
from quant.token.job import TokenJob
from quant.token.run import prepare
from quant.weights.checkpoint import Checkpoint, write_checkpoint
from tests.quant.families import save_family
from tests.quant.tiny import TEXT


@pytest.fixture
def run(tiny_folder, tiny_text, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    fields = {"text": tiny_text, "calib": tiny_text, "length": 32, "windows": 2, "recorded_tokens": 8}
    job = QuantJob(model=str(tiny_folder), method="pt-bitnet", options={"bias": True, "group": 8}, **fields)
    return quantize(job)


def test_the_evaluated_model_is_the_stored_one(run, tiny):
    """The model that was quantized had the constants already when the checkpoint was applied."""
    apply_checkpoint(tiny, run.checkpoint)
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 2, "words")
    assert run.manifest.perplexity["a8"] == pytest.approx(perplexity(tiny.model, windows, int8=True), rel=1e-6)
    biases = run.checkpoint.biases()
    for linear in decoder_linears(tiny.model):
        constants = torch.from_numpy(biases[linear.layer, linear.kind]).float()
        assert torch.equal(linear.module.bias, constants)
        assert constants.abs().max() > 0


def test_bits_are_the_files(run):
    arrays = run.checkpoint.tensors()
    stored = sum(8 * a.nbytes for name, a in arrays.items() if not name.startswith("norms."))
    assert sum(entry.bits for entry in run.manifest.linears) == stored
    assert all(entry.bias_bits == 16 * entry.n for entry in run.manifest.linears)


def test_constants_join_the_biases_of_the_model(tmp_path):
    save_family("llama with biases", tmp_path / "model")
    loaded = load_model(resolve(str(tmp_path / "model")))
    linear = next(decoder_linears(loaded.model)).module
    own = linear.bias.clone()
    for _ in range(2):  # the second in the place of the first
        add_bias(linear, torch.ones(linear.out_features))
    assert torch.equal(linear.bias, own + 1)


def test_what_cannot_hold_constants_refuses_them(run, tiny_folder, tiny_text):
    with pytest.raises(
        InputError, match=r"constants per output \(bias=true\), which neither exported files nor the whole"
    ):
        open_finished(run.folder)
    job = TokenJob(model=str(tiny_folder), method="pt-bitnet", options={"bias": True, "group": 8}, calib=tiny_text)
    with pytest.raises(InputError, match=r"^method 'pt-bitnet': its linears have constants per output"):
        prepare(job.model_copy(update={"length": 32}), lambda *_: None)


@pytest.mark.parametrize("given", [{"bias": True}, {"follow": 0.5}, {"relative": 2}])
def test_what_full_precision_is_needed_for_is_refused_without_it(given):
    (name,) = given
    with pytest.raises(InputError, match=f"option '{name}' needs refit above 0, not 0"):
        options_for("pt-bitnet", given | {"refit": 0})
    assert options_for("pt-bitnet", {"refit": 0}).refit == 0


@pytest.mark.parametrize("value", [np.zeros(3, np.float16), np.full(24, np.inf, np.float16)])
def test_damaged_constants_are_refused(run, tmp_path, value):
    path = tmp_path / "part.safetensors"
    solution = run.checkpoint.solution(0, "q_proj")
    write_checkpoint(path, {(0, "q_proj"): solution}, None, {(0, "q_proj"): value})
    with pytest.raises(InputError, match=r"array 'biases\.0\.q_proj' must be finite float16 \(24,\)"):
        Checkpoint(path).entries()
    write_checkpoint(path, {(0, "q_proj"): solution}, None, {(1, "q_proj"): value})
    with pytest.raises(InputError, match="must be finite float16 of a linear of the file"):
        Checkpoint(path).biases()
