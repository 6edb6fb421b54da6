"""Claims: tables in digits go out as the numbers that they stand for; a head alone in digits is a head of its own."""

import gguf
import numpy as np
import pytest
import torch
from gguf.quants import dequantize
from transformers import AutoModelForCausalLM

from quant import pipeline
from quant.exports.export import export
from quant.exports.finished import open_finished
from quant.exports.job import ExportJob
from quant.job import QuantJob
from quant.pipeline import quantize
from quant.weights.stored_table import StoredTable
from tests.quant.exports.byte_models import save_byte_llama

TRAINING = {
    "epochs": 0, "distill_steps": 1, "generated_windows": 0, "distill_length": 16, "distill_tokens_per_step": 32,
    "tables": "kept", "flips": 0, "table_digits": 2,
}  # fmt: skip


@pytest.fixture(params=["both", "head"])
def run(request, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    text = tmp_path / "text.txt"
    text.write_text(" the and you thought that" * 200)
    job = QuantJob(
        model=str(save_byte_llama(tmp_path / "model", hidden=32)), method="pt-bitnet-full", text=text, calib=text,
        options=TRAINING | {"table_roles": request.param}, windows=2, length=32, calibration_windows=2,
        recorded_tokens=8,
    )  # fmt: skip
    return quantize(job), request.param


def test_a_dense_folder_gives_the_runs_logits_in_transformers(run, tmp_path):
    done, roles = run
    export(ExportJob(checkpoint=done.folder, format="hf", out=tmp_path / "hf"))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    assert theirs.config.tie_word_embeddings == (roles == "both")
    tokens = torch.tensor([list(range(2, 60))])
    ours = open_finished(done.folder).loaded.model
    with torch.no_grad():
        assert torch.equal(theirs(tokens).logits, ours(tokens).logits)


def test_a_gguf_file_holds_the_table_exactly(run, tmp_path):
    done, roles = run
    written = export(ExportJob(checkpoint=done.folder, format="gguf-f16", out=tmp_path / "gguf"))
    tensors = {one.name: one for one in gguf.GGUFReader(written.folder / written.file).tensors}
    stored = done.checkpoint.tables()
    name = {"both": "embed_tokens", "head": "lm_head"}[roles]
    assert isinstance(stored[name], StoredTable)
    assert ("output.weight" in tensors) == (roles == "head")
    found = tensors["output.weight" if roles == "head" else "token_embd.weight"]
    assert np.array_equal(dequantize(found.data, found.tensor_type), stored[name].dense())
    assert done.manifest.digits_of("head") == 2
    assert done.manifest.digits_of("embedding") == (2 if roles == "both" else None)
