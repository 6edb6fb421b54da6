"""The whole path on a tiny LLaMA: integers replay, bits are the file's, caching, resuming, one-line refusals."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from hw.artifact import sha256_file
from hw.errors import InputError
from hw.golden import group_sums
from quant import pipeline, source
from quant.job import QuantJob
from quant.llama.loading import load_model
from quant.pipeline import quantize
from quant.quantizer import apply_checkpoint
from quant.shapes import load_shape
from quant.source import resolve
from tests.quant.recorded import assert_sums_are_golden


@pytest.fixture
def job(tiny_folder, tiny_text, tmp_path, monkeypatch):
    """A job whose results land in a folder of the test."""
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")

    def make(**fields):
        defaults = {"model": str(tiny_folder), "text": tiny_text, "calib": tiny_text, "length": 32, "windows": 2}
        return QuantJob(**{**defaults, "calibration_windows": 8, "recorded_tokens": 12, **fields})

    return make


@pytest.mark.parametrize("method", ["pt-bitnet", "rtn", "ptqtp", "pt2-llm"])
def test_recorded_integers_equal_the_golden_model(job, method):
    done = quantize(job(method=method))
    recording, checkpoint = done.recording, done.checkpoint
    assert len(recording.linears) == 14
    assert_sums_are_golden(recording, checkpoint)


def test_integers_times_scales_equal_the_model_that_was_evaluated(job):
    done = quantize(job())
    loaded = load_model(resolve(job().model))
    apply_checkpoint(loaded, done.checkpoint)
    record = done.recording.linears[3]
    q, s = done.recording.inputs[record.input]
    linear = done.checkpoint.linear(record.layer, record.kind)
    sums = group_sums(q, linear.trits[0], linear.group)
    by_integers = s[:, None] * (sums * linear.scales[0]).sum(-1)
    module = loaded.model.model.layers[0].self_attn.o_proj
    by_floats = torch.from_numpy(q * s[:, None]) @ module.weight.T
    assert np.allclose(by_integers, by_floats.numpy(), atol=1e-5)


def test_manifest_counts_the_bytes_of_the_file(job):
    done = quantize(job())
    path = done.checkpoint.path
    header = int.from_bytes(path.read_bytes()[:8], "little")
    manifest = done.manifest
    norms = sum(gain.nbytes for gain in done.checkpoint.norms().values())
    assert sum(entry.bits for entry in manifest.linears) == 8 * (path.stat().st_size - 8 - header - norms)
    assert set(manifest.perplexity) == {"fp", "fp_a8", "a16", "a8"}
    assert manifest.calibration.startswith("words.txt")


def test_second_run_works_no_more_and_imports_no_torch(job, tmp_path):
    first = quantize(job())
    stamp = (first.folder / "manifest.json").stat().st_mtime_ns
    code = (
        "import sys; from pathlib import Path; from quant import pipeline; from quant.job import QuantJob; "
        f"pipeline.MODELS_FOLDER = Path({str(tmp_path / 'models')!r}); "
        f"job = QuantJob.model_validate_json({job().model_dump_json()!r}); "
        "print(pipeline.quantize(job).folder); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(first.folder), "False"]
    assert (first.folder / "manifest.json").stat().st_mtime_ns == stamp


def test_another_text_is_evaluated_on_the_same_integers(job, tiny_text, tmp_path):
    first = quantize(job())
    other = tmp_path / "other.txt"
    other.write_text(tiny_text.read_text()[5000:])
    stages = []
    second = quantize(job(text=other), lambda stage, done, total: stages.append(stage))
    assert second.folder == first.folder
    assert "quantize" not in stages
    assert second.manifest.evaluation.startswith("other.txt")


def test_killed_job_goes_on_to_the_same_bits(job, tmp_path, monkeypatch):
    whole = quantize(job()).checkpoint.path.read_bytes()
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "again")

    def kill(stage, done, total):
        if stage == "quantize" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        quantize(job(), kill)
    parts = list((tmp_path / "again").rglob("parts/*.safetensors"))
    assert [part.name for part in parts] == ["0.safetensors"]
    done = quantize(job())
    assert done.checkpoint.path.read_bytes() == whole
    assert not (done.folder / "parts").exists()


def test_out_of_memory_says_how_to_go_on(job, monkeypatch):
    def exhausted(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr("quant.methods.rtn.solve", exhausted)
    with pytest.raises(InputError, match=r"out of memory on cpu \(.*2\.00 GiB\.\); use shorter or fewer windows"):
        quantize(job(method="rtn"))


def test_options_change_the_folder_and_wrong_ones_are_refused(job):
    assert quantize(job(options={"group": 16})).folder != quantize(job()).folder
    with pytest.raises(InputError, match=r"method pt-bitnet: unknown field 'grup'"):
        quantize(job(options={"grup": 16}))
    with pytest.raises(InputError, match=r"method must be one of rtn, .*not 'gtpq'"):
        quantize(job(method="gtpq"))
    with pytest.raises(InputError, match="calibration text 'words"):
        quantize(job(calibration_windows=1000))


def test_later_linears_of_a_block_see_the_earlier_ones_quantized(job):
    at_once, in_turn = (
        quantize(job(method="pt-bitnet", options={"sequential": choice, "refit": 0})).checkpoint
        for choice in (False, True)
    )

    def equal(kind):
        return np.array_equal(at_once.linear(0, kind).trits, in_turn.linear(0, kind).trits)

    assert equal("q_proj")
    assert equal("v_proj")
    assert not equal("o_proj")
    assert not equal("down_proj")


def test_last_words_are_measured_once_prose_is_given(job, tmp_path):
    first = quantize(job(method="rtn"))
    assert first.manifest.last_word == {}
    prose = tmp_path / "prose.txt"
    prose.write_text(" ".join(f"w{i % 39}" + ("x." if i % 7 == 0 else "") for i in range(9000)))
    second = quantize(job(method="rtn", prose=prose))
    assert second.folder == first.folder
    assert set(second.manifest.last_word) == {"fp_a8", "a8"}
    assert second.manifest.last_word_text.startswith("prose.txt")


def test_command_line_prints_the_manifest(job, tmp_path):
    one = job()
    command = [sys.executable, "-m", "quant", "quantize", "--model", one.model, "--method", "rtn", "--text", one.text]
    command += ["--calib", one.calib, "--length", "32", "--windows", "2", "--calibration-windows", "8", "--json"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}

    def run(*arguments):
        words = [str(word) for word in arguments]
        return subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment, check=False)

    assert json.loads(run(*command).stdout)["method"] == "rtn"
    failed = run(*command[:4], "--model", "lama")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: model must be one of")
    assert failed.stderr.count("\n") == 1


@pytest.mark.parametrize("method", ["pt-bitnet", "ptqtp", "pt-bitnet-full"])
def test_streamed_models_give_the_same_files(job, method, tmp_path, monkeypatch):
    small = {"epochs": 1, "distill_steps": 3, "distill_length": 16, "distill_tokens_per_step": 64}
    options = small | {"generated_windows": 0} if method == "pt-bitnet-full" else {}
    whole = quantize(job(method=method, options=options))
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "again")
    monkeypatch.setattr("quant.llama.blocks._RESIDENT_BYTES", 0)
    streamed = quantize(job(method=method, options=options))
    assert streamed.checkpoint.path.read_bytes() == whole.checkpoint.path.read_bytes()
    assert streamed.manifest.perplexity == whole.manifest.perplexity
    assert (streamed.folder / "recording.safetensors").read_bytes() == (
        whole.folder / "recording.safetensors"
    ).read_bytes()


def test_further_texts_are_evaluated_once_given(job, tiny_text, tmp_path):
    first = quantize(job(method="rtn"))
    assert first.manifest.more_perplexity == {}
    other = tmp_path / "c4.txt"
    other.write_text(tiny_text.read_text()[5000:])
    second = quantize(job(method="rtn", more_texts=(other,)))
    assert second.folder == first.folder
    assert second.manifest.perplexity == first.manifest.perplexity
    ((name, figures),) = second.manifest.more_perplexity.items()
    assert name.startswith("c4.txt (")
    assert figures == quantize(job(method="rtn", text=other)).manifest.perplexity


def test_published_figures_stand_beside_a_llama2_7b(job, tmp_path):
    """The command for LLaMA-2-7B, end to end on a tiny LLaMA whose manifest is then given the other's dimensions."""
    one, shape = job(), load_shape("llama2-7b")
    other = tmp_path / "c4.txt"
    other.write_text(one.text.read_text()[4000:])
    command = [
        sys.executable,
        "-m",
        "quant",
        "quantize",
        "--model",
        one.model,
        "--text",
        one.text,
        "--more-texts",
        other,
    ]
    command += ["--calib", one.calib, "--length", "32", "--windows", "2", "--calibration-windows", "8"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"}

    def run():
        words = [str(word) for word in command]
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
        return done.stdout

    printed = run()
    assert "after (words.txt)" in printed
    assert "scale groups of 128" in printed
    assert "after (c4.txt)" in printed
    assert "8.59" not in printed
    (path,) = tmp_path.rglob("manifest.json")
    document = json.loads(path.read_text()) | {"shape": shape.model_dump()}
    document.pop("seal")  # it would be found out otherwise
    path.write_text(json.dumps(document))
    printed = run()
    assert "PT-BitNet W1.58A8" in printed
    assert "8.59" in printed
    assert "11.06" in printed


@pytest.mark.parametrize("method", ["omniquant", "pb-llm-qat"])
def test_the_option_objective_learns_against_the_block(job, method):
    options = {"objective": "block", "epochs": 2, "block_tokens_per_step": 64}
    by_block, by_linear = quantize(job(method=method, options=options)), quantize(job(method=method))
    assert by_block.checkpoint.path.read_bytes() != by_linear.checkpoint.path.read_bytes()
    assert by_block.manifest.true_bits == by_linear.manifest.true_bits


@pytest.mark.parametrize("method", ["rtn", "pt-bitnet-full"])
def test_weights_are_hashed_once_per_run(job, tiny_folder, tiny_text, tmp_path, method, monkeypatch):
    read = []

    def counted(path):
        read.append(Path(path))
        return sha256_file(path)

    monkeypatch.setattr(source, "sha256_file", counted)
    other = tmp_path / "other.txt"
    other.write_text(tiny_text.read_text()[5000:])
    small = {"epochs": 1, "distill_steps": 1, "distill_length": 16, "generated_windows": 2}
    quantize(job(method=method, more_texts=(other,), options=small if method == "pt-bitnet-full" else {}))
    assert sorted(read) == sorted(
        file for name in ("config.json", "*.safetensors", "tokenizer*") for file in tiny_folder.glob(name)
    )


def test_other_recorded_tokens_are_recorded_on_the_same_integers(job):
    first = quantize(job())
    stages = []
    second = quantize(job(recorded_tokens=20), lambda stage, done, total: stages.append(stage))
    assert second.folder == first.folder
    assert "quantize" not in stages
    assert second.recording.inputs["layers.0.mlp_in"][0].shape[0] == 20


@pytest.mark.parametrize("name", ["tokenizer.json", "added_tokens.json", "config.json"])
def test_another_tokenizer_or_config_is_another_folder(job, tiny_folder, tmp_path, name):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    first = quantize(job(model=str(copy), method="rtn"))
    before = (copy / name).read_text() if (copy / name).is_file() else "{"
    (copy / name).write_text(before + "\n" if before != "{" else "{}")
    assert quantize(job(model=str(copy), method="rtn")).folder != first.folder


def test_text_of_other_settings_is_written_again(job, tmp_path, monkeypatch):
    options = {"epochs": 1, "distill_steps": 1, "distill_length": 16, "generated_windows": 2}
    quantize(job(method="pt-bitnet-full", options=options))
    quantize(job(method="pt-bitnet-full", options=options | {"epochs": 2}))
    assert len(list(tmp_path.rglob("generated-*.safetensors"))) == 1
    monkeypatch.setattr("quant.llama.generate._TEMPERATURE", 0.5)
    quantize(job(method="pt-bitnet-full", options=options | {"epochs": 3}))
    assert len(list(tmp_path.rglob("generated-*.safetensors"))) == 2
