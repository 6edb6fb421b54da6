"""Quantization with K and V in few bits: what manifest and recording carry, what is measured anew, what is refused."""

import json

import numpy as np
import pytest

from hw.errors import InputError
from quant import pipeline
from quant.__main__ import main
from quant.job import QuantJob
from quant.kv.formats import parse_kv
from quant.llama.cached import cached_attention
from quant.llama.evaluate import perplexity
from quant.manifest import read_manifest
from quant.pipeline import quantize
from quant.procedures.calibrate import token_windows
from quant.quantizer import apply_checkpoint
from tests.quant.recorded import assert_sums_are_golden
from tests.quant.tiny import TEXT


@pytest.fixture
def job(tiny_folder, tiny_text, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    fields = {"model": str(tiny_folder), "method": "rtn", "text": tiny_text, "calib": tiny_text, "recorded_tokens": 12}
    return lambda **more: QuantJob(**fields, length=32, windows=2, **more)


def test_manifest_and_recording_are_of_the_format(job, tiny):
    plain, turned = quantize(job()), None
    inputs, before = plain.recording.inputs, (plain.folder / "ternary.safetensors").stat().st_mtime_ns
    assert (plain.manifest.kv, plain.manifest.kv_bits, plain.recording.kv) == (None, 16, "float")
    turned = quantize(job(kv="digits:3/2,rotate"))
    assert turned.folder == plain.folder
    assert (plain.folder / "ternary.safetensors").stat().st_mtime_ns == before  # nothing quantized again
    manifest, recording = turned.manifest, turned.recording
    form = manifest.kv
    assert (form.key_digits, form.value_digits, form.rotate) == (3, 2, True)
    assert manifest.kv_bits == pytest.approx(2.5 * 2 * 8 / 6 + 16 / 6)  # heads of 6: two bytes a plane
    assert recording.kv == "digits:3/2,rotate"
    # The first layer's attention reads the same, and hands on something else.
    assert np.array_equal(recording.inputs["layers.0.attention_in"][0], inputs["layers.0.attention_in"][0])
    assert not np.array_equal(recording.inputs["layers.0.attention_out"][0], inputs["layers.0.attention_out"][0])
    assert_sums_are_golden(recording, turned.checkpoint)
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 2, "words")
    with cached_attention(tiny.model, form):
        assert manifest.perplexity["fp_kv"] == pytest.approx(perplexity(tiny.model, windows, int8=True))
        apply_checkpoint(tiny, turned.checkpoint)
        assert manifest.perplexity["a8_kv"] == pytest.approx(perplexity(tiny.model, windows, int8=True))
    assert manifest.perplexity["a8"] == pytest.approx(perplexity(tiny.model, windows, int8=True))
    assert 0.5 < manifest.kv_cosine["min"] < manifest.kv_cosine["mean"] < 1


def test_another_format_is_measured_and_the_same_is_not(job, monkeypatch):
    quantize(job(kv="digits:4"))
    monkeypatch.setattr("quant.quantizer.load_model", lambda *_: pytest.fail("worked again"))
    assert quantize(job(kv="digits:4/4")).manifest.kv == parse_kv("digits:4")  # another spelling of the same
    with pytest.raises(pytest.fail.Exception):
        quantize(job(kv="digits:4,rotate"))
    with pytest.raises(pytest.fail.Exception):
        quantize(job())


def test_more_texts_are_measured_over_the_format_too(job, tmp_path):
    more = tmp_path / "more.txt"
    more.write_text(TEXT[::-1].replace("w", "v ")[:2000] + TEXT)
    done = quantize(job(kv="int8", more_texts=(more,)))
    (figures,) = done.manifest.more_perplexity.values()
    assert set(figures) == {"fp", "fp_a8", "fp_kv", "a16", "a8", "a8_kv"}


def test_it_is_printed_and_an_old_manifest_is_read(job, tiny_folder, tiny_text, capsys):
    sample = ("--text", str(tiny_text), "--calib", str(tiny_text), "--length", "32", "--windows", "2")
    main(["quantize", "--model", str(tiny_folder), "--method", "rtn", *sample, "--kv", "digits:4/3,rotate"])
    printed = " ".join(capsys.readouterr().out.split())
    assert "digits:4/3,rotate" in printed
    assert "K and V 12.00 bits per element; cosine of outputs 0." in printed
    folder = quantize(job(kv="digits:4/3,rotate")).folder
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    del document["kv"], document["seal"]  # older ones had neither
    path.write_text(json.dumps(document))
    assert read_manifest(path).kv is None


@pytest.mark.parametrize(
    ("kv", "words"),
    [
        ("digits", "digits must be given for K and V, such as digits:4 or digits:4/3"),
        ("kivi:2", "K and V as kivi:2: group must divide the head size 6, not 32; one of 1, 2, 3, 6 does"),
    ],
)
def test_what_does_not_fit_is_refused_before_weights_are_read(tiny_folder, monkeypatch, kv, words):
    monkeypatch.setattr(pipeline, "located", lambda _: pytest.fail("read the weights"))
    with pytest.raises(InputError, match=words):
        main(["quantize", "--model", str(tiny_folder), "--kv", kv])
