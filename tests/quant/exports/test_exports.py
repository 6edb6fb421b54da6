"""Exports against the runtimes that are to load them: transformers and llama.cpp, never a reader of this project."""

import json

import gguf
import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from hw.errors import InputError
from quant import pipeline
from quant.exports.export import export
from quant.exports.finished import open_finished
from quant.exports.job import ExportJob
from quant.exports.llama_cpp import LlamaCpp
from quant.job import QuantJob
from quant.llama.blocks import int8_activations, linear_name
from quant.pipeline import quantize
from quant.registry import method_names
from quant.shapes import LINEAR_KINDS
from tests.quant.exports.byte_models import save_byte_llama
from tests.quant.native.bitnet_folders import save_bitnet

TEXT = " the and you thought that" * 200
PLAIN = 66  # a token of one letter


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "text.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory, text):
    """Folders of finished runs of byte-level models, each made once."""
    folder, made = tmp_path_factory.mktemp("runs"), {}

    def run(method="rtn", family="llama", hidden=256, **options):
        key = str((method, family, hidden, options))
        if key not in made:
            model = folder / f"{family}-{hidden}"
            if not model.exists():
                save_byte_llama(model, family, hidden)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(pipeline, "MODELS_FOLDER", folder / "models")
                made[key] = quantize(_job(model, method, text, options)).folder
        return made[key]

    return run


@pytest.fixture(autouse=True)
def uncompiled():
    """transformers wraps functions of its BitNet in torch.compile."""
    with torch.compiler.set_stance("force_eager"):
        yield


def _job(model, method, text, options):
    sizes = {"windows": 2, "length": 32, "calibration_windows": 2, "recorded_tokens": 8}
    return QuantJob(model=str(model), method=method, options=options, text=text, calib=text, **sizes)


def _logits(model, tokens):
    with torch.no_grad():
        return model(torch.tensor([tokens])).logits[0].float()


SLOW = ("pt-bitnet-full", "pb-llm-qat", "omniquant", "sherry", "ptq1.61", "slim-llm+", "wkvquant")  # they train
WHOLE = {"epochs": 1, "distill_steps": 2, "generated_windows": 2}
BRIEF = {"pt-bitnet-full": WHOLE, "sherry": WHOLE, "ptq1.61": {"epochs": 1}, "slim-llm+": {"epochs": 1}}


@pytest.mark.parametrize("method", [pytest.param(m, marks=[pytest.mark.slow] * (m in SLOW)) for m in method_names()])
def test_the_dense_folder_gives_the_runs_logits_in_transformers(method, finished, tmp_path):
    folder = finished(method, hidden=32, **BRIEF.get(method, {}))
    export(ExportJob(checkpoint=folder, format="hf", out=tmp_path / "hf"))
    run, tokens = open_finished(folder), list(range(2, 60))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "hf").eval()
    assert theirs.dtype == torch.float32
    assert torch.equal(_logits(theirs, tokens), _logits(run.loaded.model, tokens))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "hf")
    assert tokenizer(TEXT).input_ids == run.loaded.tokenizer.encode(TEXT)
    assert tokenizer.apply_chat_template([{"role": "user", "content": "you"}], tokenize=False) == "<|user|>you"


@pytest.mark.parametrize("family", ["llama", "qwen2"])
@pytest.mark.parametrize("kind", ["tq2_0", "tq1_0"])
def test_llama_cpp_runs_ternary_files_as_we_do(family, kind, finished, tmp_path):
    folder = finished(family=family, group=256)
    done = export(ExportJob(checkpoint=folder, format=f"gguf-{kind}", out=tmp_path / "out"))
    blocks = 2 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256) // 256  # of two layers
    assert done.linear_bytes == blocks * {"tq2_0": 66, "tq1_0": 54}[kind]  # biases of qwen2 are no quantized weights
    run = open_finished(folder)
    prompt = run.loaded.tokenizer.encode(" the thought and you")
    theirs = LlamaCpp(done.folder / done.file, 128, run.loaded.shape.vocab_size, PLAIN)
    assert theirs.tokens(" the thought and you") == prompt
    with int8_activations(run.loaded.model):  # llama.cpp rounds activations too, in blocks of 256
        logits = torch.log_softmax(_logits(run.loaded.model, prompt), -1)
        following = _greedy(run.loaded.model, prompt, 8)
    assert theirs.greedy(prompt, 8) == following
    found = [theirs.log_probability(prompt[:i], prompt[i]) for i in range(1, len(prompt))]
    expected = [logits[i - 1, prompt[i]].item() for i in range(1, len(prompt))]
    assert found == pytest.approx(expected, abs=0.6)  # of numbers of 5 to 35: other blocks, other roundings
    assert np.mean(found) == pytest.approx(np.mean(expected), rel=0.01)


@pytest.mark.parametrize("family", ["llama", "qwen2"])
def test_llama_cpp_runs_float16_files_as_we_do(family, finished, tmp_path):
    folder = finished("ptqtp", family, hidden=64)
    done = export(ExportJob(checkpoint=folder, format="gguf-f16", out=tmp_path / "out"))
    run = open_finished(folder)
    prompt = run.loaded.tokenizer.encode(" the thought and you")
    theirs = LlamaCpp(done.folder / done.file, 128, run.loaded.shape.vocab_size, PLAIN)
    logits = torch.log_softmax(_logits(run.loaded.model, prompt), -1)
    assert theirs.greedy(prompt, 8) == _greedy(run.loaded.model, prompt, 8)
    found = [theirs.log_probability(prompt[:i], prompt[i]) for i in range(1, len(prompt))]
    assert found == pytest.approx([logits[i - 1, prompt[i]].item() for i in range(1, len(prompt))], abs=0.05)


def _greedy(model, prompt, count):
    tokens = list(prompt)
    for _ in range(count):
        tokens.append(int(_logits(model, tokens)[-1].argmax()))
    return tokens[len(prompt) :]


def _tensors(done):
    return {tensor.name: tensor for tensor in gguf.GGUFReader(done.folder / done.file).tensors}


@pytest.mark.parametrize(
    ("options", "hidden"), [({"group": 256}, 256), ({"scale": "row"}, 256), ({"scale": "row"}, 288)]
)
def test_ternary_files_hold_the_runs_weights_exactly(options, hidden, finished, tmp_path):
    """Read back by gguf's own dequantization: also scales per row, and rows that are no whole blocks, as float16."""
    folder = finished(hidden=hidden, **options)
    done = export(ExportJob(checkpoint=folder, format="gguf-tq2_0", out=tmp_path / "out"))
    found, run = _tensors(done), open_finished(folder)
    for kind, name in (("down_proj", "ffn_down"), ("v_proj", "attn_v")):
        tensor = found[f"blk.1.{name}.weight"]
        weight = run.loaded.model.get_submodule(linear_name(1, kind)).weight.numpy()
        assert tensor.tensor_type.name == ("TQ2_0" if weight.shape[1] % 256 == 0 else "F16")
        assert np.array_equal(gguf.quants.dequantize(tensor.data, tensor.tensor_type), weight)
    assert ("12 of 14 linears have rows that are no whole blocks" in done.accuracy) == (hidden == 288)


def test_tables_are_stored_exactly_and_metadata_is_carried_over(finished, tmp_path):
    folder = finished(group=256)
    done = export(ExportJob(checkpoint=folder, format="gguf-tq1_0", out=tmp_path / "out"))
    reader, run = gguf.GGUFReader(done.folder / done.file), open_finished(folder)
    (table,) = [tensor for tensor in reader.tensors if tensor.name == "token_embd.weight"]
    embedding = run.loaded.model.model.embed_tokens.weight.numpy()
    assert np.array_equal(gguf.quants.dequantize(table.data, table.tensor_type), embedding)
    assert reader.get_field("tokenizer.chat_template").contents().startswith("{% for m in messages")
    assert reader.get_field("general.file_type").contents() == gguf.LlamaFileType.MOSTLY_TQ1_0
    note = json.loads((done.folder / "tritforge-export.json").read_text())
    assert (note["format"], note["file"], note["method"]) == ("gguf-tq1_0", done.file, "rtn")


def test_the_bitnet_folder_is_run_by_transformers_own_linears(finished, tmp_path):
    folder = finished(scale="tensor")
    export(ExportJob(checkpoint=folder, format="bitnet", out=tmp_path / "out"))
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    assert {type(theirs.get_submodule(linear_name(1, kind))).__name__ for kind in LINEAR_KINDS} == {"AutoBitLinear"}
    run, tokens = open_finished(folder), list(range(2, 60))
    with int8_activations(run.loaded.model):
        ours = _logits(run.loaded.model, tokens)
    assert torch.allclose(_logits(theirs, tokens), ours, rtol=0, atol=0.02 * ours.abs().max().item())
    for kind in LINEAR_KINDS:  # unit vectors are whole int8 activations: the answer is the weight
        module = theirs.get_submodule(linear_name(0, kind))
        weight = run.loaded.model.get_submodule(linear_name(0, kind)).weight
        assert torch.equal(module(torch.eye(weight.shape[1])).T, weight)


def test_a_native_checkpoint_goes_out_as_it_came(tmp_path, text, monkeypatch):
    """BitNet in, BitNet out: quantized nowhere, so the trits and scales of the folder are those that were read."""
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    first = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")
    folder = quantize(_job(first, "native", text, {})).folder
    export(ExportJob(checkpoint=folder, format="bitnet", out=tmp_path / "out"))
    before, after = (safetensors_of(path) for path in (first, tmp_path / "out"))
    assert before.keys() == after.keys()
    for name, value in before.items():
        assert torch.equal(value.float().flatten(), after[name].float().flatten()), name


def safetensors_of(folder):
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


REFUSALS = {
    "groups of 128": (
        {"method": "rtn", "group": 128},
        "gguf-tq2_0",
        r"groups of 256 columns.*not 128.*--options group=256",
    ),
    "two planes": (
        {"method": "ptqtp", "hidden": 32},
        "gguf-tq1_0",
        r"one ternary plane with scales, not 2 ternary planes \(method ptqtp\)",
    ),
    "8-bit weights and offsets": ({"method": "pb-llm", "hidden": 32}, "bitnet", "not offsets, weights kept at 8 bits"),
    "scales per row": ({"method": "rtn", "scale": "row"}, "bitnet", r"one scale per tensor, not one per row.*=tensor"),
    "scales per group": ({"method": "rtn", "group": 256}, "bitnet", r"not one per group of 256.*scale=tensor"),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_a_format_cannot_hold_is_refused_with_the_way_out(case, finished, tmp_path):
    run, target, message = REFUSALS[case]
    with pytest.raises(InputError, match=message):
        export(ExportJob(checkpoint=finished(**run), format=target, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_is_kept(finished, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="must be a new or empty folder"):
        export(ExportJob(checkpoint=finished(group=256), format="hf", out=tmp_path))
    assert (tmp_path / "mine.txt").read_text() == "mine"


def test_tokenizers_that_gguf_cannot_express_are_refused(tiny_folder, tmp_path, text, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    folder = quantize(_job(tiny_folder, "rtn", text, {})).folder
    with pytest.raises(InputError, match="tokenizer must be BPE for GGUF, not WordLevel; export as hf"):
        export(ExportJob(checkpoint=folder, format="gguf-f16", out=tmp_path / "out"))


def test_another_model_than_the_quantized_one_is_refused(finished, tmp_path):
    other = save_byte_llama(tmp_path / "other", rms_norm_eps=1e-3)
    with pytest.raises(InputError, match="its weights are not those that"):
        export(ExportJob(checkpoint=finished(group=256), format="hf", out=tmp_path / "out", model=str(other)))
    with pytest.raises(InputError, match="no such file"):
        export(ExportJob(checkpoint=tmp_path, format="hf", out=tmp_path / "out"))


def test_squared_relu_is_refused_for_stock_llama_cpp(tmp_path, text, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    model = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")
    folder = quantize(_job(model, "native", text, {})).folder
    with pytest.raises(InputError, match=r"'hidden_act' must be silu.*not 'relu2'; export as bitnet or hf"):
        export(ExportJob(checkpoint=folder, format="gguf-f16", out=tmp_path / "out"))


def test_stories_tokenizer_and_weights_in_llama_cpp(stories, tmp_path, monkeypatch):
    """A llama2.c vocabulary as GGUF's SentencePiece kind."""
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")
    told = stories / "tinystories_sample_3k.txt"
    folder = quantize(_job(stories / "stories260K.bin", "ptqtp", told, {})).folder
    done = export(ExportJob(checkpoint=folder, format="gguf-f16", out=tmp_path / "out"))
    run = open_finished(folder)
    theirs = LlamaCpp(done.folder / done.file, 512, 512, PLAIN)
    start = told.read_text()[:200]
    prompt = run.loaded.tokenizer.encode(start)
    assert theirs.tokens(start) == prompt
    assert theirs.greedy(prompt, 12) == _greedy(run.loaded.model, prompt, 12)
