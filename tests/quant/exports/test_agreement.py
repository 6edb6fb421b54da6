"""The comparison of a run with its exported file: counts against hand-made runtimes, and a row that is kept."""

import pytest
import torch

from hw.errors import InputError
from quant import pipeline
from quant.exports import agreement
from quant.exports.agreement import measure_agreement
from quant.exports.agreement_table import Agreement, add_agreement, agreement_markdown, read_agreements
from quant.job import QuantJob
from quant.pipeline import quantize
from quant.text import NamedText
from tests.quant.exports.byte_models import save_byte_llama


def row(**fields):
    known = {
        "model": "m",
        "method": "rtn",
        "options": {},
        "true_bits": 1.7,
        "tokens_equal": {"a16": 0.5, "a8": 1.0},
        "perplexity": {"theirs": 3.0, "a16": 3.1, "a8": 3.2},
        "format": "hf",
    }
    return Agreement(**known | fields)


def test_tokens_count_until_the_first_that_differs():
    assert agreement._same([1, 2, 3, 4], [1, 2, 9, 4]) == 2
    assert agreement._same([1, 2], [1, 2]) == 2
    assert agreement._same([5, 2], [1, 2]) == 0


def test_a_row_replaces_that_of_the_same_run_and_format(tmp_path):
    path = tmp_path / "rows.json"
    for one in (row(), row(format="gguf-f16"), row(true_bits=2.0)):
        add_agreement(path, one)
    assert [(one.format, one.true_bits) for one in read_agreements(path).rows] == [("gguf-f16", 1.7), ("hf", 2.0)]
    sized = row(format="gguf-q8_0", file_bytes=12_340_000, linear_bytes=2_000_000, packed_bytes=21_000)
    add_agreement(path, sized)
    table = agreement_markdown(read_agreements(path))
    assert "| `gguf-q8_0` |  | 12.3 MB | 2.0 MB | 21.0 kB (1.70) | 50.0% | 100.0% | 3.000 | 3.100 | 3.200 |" in table


def test_the_dense_folder_agrees_in_all_and_a_faulty_one_does_not(tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    monkeypatch.setattr(agreement, "_CONTINUED", 2)
    monkeypatch.setattr(agreement, "_SLICE", 6)
    text = tmp_path / "text.txt"
    text.write_text(" the and you thought that" * 120)
    sizes = {"windows": 1, "length": 32, "calibration_windows": 1, "recorded_tokens": 4}
    model = save_byte_llama(tmp_path / "model", hidden=32)
    job = QuantJob(model=str(model), method="rtn", text=text, calib=text, **sizes)
    folder, told = quantize(job).folder, NamedText("t", text.read_text())
    found = measure_agreement(folder, "hf", None, told, lambda *_: None)
    assert found.tokens_equal["a16"] == 1.0
    assert found.perplexity["theirs"] == pytest.approx(found.perplexity["a16"], rel=1e-5)
    weights = 2 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 64)  # two layers: q and o, k and v, gate, up and down
    assert found.linear_bytes == 4 * weights
    assert found.packed_bytes * 8 == pytest.approx(found.true_bits * weights)
    assert found.perplexity["a8"] != pytest.approx(found.perplexity["a16"], rel=1e-5)
    monkeypatch.setattr(agreement, "_runtime", lambda *_: (agreement._Torch(_Uniform()), "uniform"))
    other = measure_agreement(folder, "hf", None, told, lambda *_: None)
    assert other.perplexity["theirs"] == pytest.approx(264)  # as many as tokens
    assert other.tokens_equal["a16"] < 1.0
    with pytest.raises(InputError, match="must have 326 tokens"):
        measure_agreement(folder, "hf", None, NamedText("t", "the"), lambda *_: None)


class _Uniform(torch.nn.Module):
    """Every token is as likely as any other."""

    def forward(self, tokens):
        return type("Output", (), {"logits": torch.zeros(*tokens.shape, 264)})
