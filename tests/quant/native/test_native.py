"""Native ternary checkpoints: the file's trits and scales, the reference's function, and nothing quantized again."""

import os
import shutil
import subprocess
import sys

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from hw.errors import InputError
from quant import pipeline
from quant.job import QuantJob
from quant.llama.blocks import decoder_linears, int8_activations
from quant.llama.loading import load_model
from quant.native import checkpoint as native_checkpoint
from quant.native.bitnet import BitnetFolder
from quant.native.bitnet_config import bitnet_form
from quant.pipeline import quantize
from quant.shapes import LINEAR_KINDS, linear_name
from quant.source import resolve
from quant.weights.checkpoint import Checkpoint
from tests.quant.native.bitnet_folders import FORMS, change_config, save_bitnet
from tests.quant.native.gguf_files import I2_S, i2_s, pairs, tq2_0, write_gguf
from tests.quant.tiny import VOCABULARY

TQ2_0 = gguf.GGMLQuantizationType.TQ2_0


@pytest.fixture
def run(tmp_path, tiny_text, monkeypatch):
    """Quantize with few windows into a folder of this test's own."""
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", tmp_path / "models")

    def job(model, **fields):
        return quantize(QuantJob(model=str(model), text=tiny_text, windows=4, length=32, recorded_tokens=8, **fields))

    return job


@pytest.fixture(autouse=True)
def uncompiled():
    """transformers wraps functions of its BitNet in torch.compile."""
    with torch.compiler.set_stance("force_eager"):
        yield


def reference(folder):
    """transformers' own BitNet with its own quantized linears, in float32 (it stores scales in bfloat16)."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    for value in (*model.parameters(), *model.buffers()):
        if value.dtype == torch.bfloat16:
            value.data = value.data.float()
    for module in model.modules():
        if type(module).__name__ == "BitLinear":
            module.dtype = torch.float32
    return model.eval()


def reference_perplexity(model, tokens):
    with torch.no_grad():
        logits = model(tokens).logits[:, :-1].flatten(0, 1)
    return torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()).exp().item()


@pytest.mark.parametrize(("linear_class", "mode"), FORMS)
def test_perplexity_is_that_of_transformers(linear_class, mode, tmp_path, tiny_text, run):
    folder = save_bitnet(tmp_path / "bitnet", linear_class, mode)
    manifest = run(folder).manifest
    assert manifest.method == "native"
    encoded = load_model(resolve(str(folder))).tokenizer.encode(tiny_text.read_text())
    expected = reference_perplexity(reference(folder), torch.tensor(encoded[: 4 * 32]).view(4, 32))
    assert manifest.perplexity["a8"] == manifest.perplexity["fp_a8"] == pytest.approx(expected, rel=1e-3)
    assert manifest.perplexity["a16"] != pytest.approx(expected, rel=1e-3)  # so rounded activations can be told apart


@pytest.mark.parametrize(("linear_class", "mode"), FORMS)
def test_weights_are_those_that_transformers_multiplies_by(linear_class, mode, tmp_path, run):
    folder = save_bitnet(tmp_path / "bitnet", linear_class, mode)
    checkpoint, model = run(folder).checkpoint, reference(folder)
    for layer in range(2):
        for kind in LINEAR_KINDS:
            module, linear = model.get_submodule(linear_name(layer, kind)), checkpoint.linear(layer, kind)
            ours = torch.from_numpy(linear.trits[0] * linear.scales[0])
            # Its answer to unit vectors, which int8 activations hold exactly, is the weight itself.
            with torch.no_grad():
                theirs = module(torch.eye(ours.shape[1])).T
            assert torch.allclose(ours, theirs, rtol=1e-6, atol=0), (layer, kind)
            assert linear.group == ours.shape[1]


@pytest.mark.parametrize(("scale", "dtype"), [(0.25, torch.float16), (1 / 3, torch.float32)])
def test_streamed_linears_take_half_the_memory_where_that_changes_no_weight(scale, dtype, tmp_path):
    folder = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")
    tensors = load_file(folder / "model.safetensors")
    for name in [name for name in tensors if name.endswith("weight_scale")]:
        tensors[name] = torch.full_like(tensors[name], scale, dtype=torch.float32)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    source = resolve(str(folder))
    plain, streamed = (load_model(source, streamed=streamed).model for streamed in (False, True))
    for one, other in zip(decoder_linears(plain), decoder_linears(streamed), strict=True):
        assert (one.module.weight.dtype, other.module.weight.dtype) == (torch.float32, dtype)
        assert torch.equal(one.module.weight, other.module.weight.float())


def test_code_in_a_native_folder_is_not_run(tmp_path):
    folder = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")
    (folder / "own.py").write_text(
        f"open({str(tmp_path / 'ran')!r}, 'w')\n"
        "from transformers import BitNetConfig\n\n\nclass Own(BitNetConfig):\n    model_type = 'own'\n"
    )
    change_config(folder, auto_map={"AutoConfig": "own.Own"})
    load_model(resolve(str(folder)))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("error", "reason"), [(RuntimeError(), "RuntimeError"), (ValueError("one\ntwo"), "one")])
def test_what_transformers_says_of_a_config_is_one_line(error, reason, tmp_path, monkeypatch):
    folder = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")

    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(native_checkpoint.AutoConfig, "from_pretrained", refuse)
    with pytest.raises(InputError, match=rf"bitnet: transformers cannot read config.json \({reason}\)$"):
        native_checkpoint._folder_config(folder)


@pytest.mark.parametrize(("linear_class", "mode"), FORMS)
def test_a_bias_is_scaled_by_packed_auto_linears_alone(linear_class, mode, tmp_path):
    folder = save_bitnet(tmp_path / "bitnet", linear_class, mode)
    tensors, name = load_file(folder / "model.safetensors"), "model.layers.0.self_attn.q_proj"
    bias = torch.arange(128) / 64 - 1
    save_file(tensors | {f"{name}.bias": bias}, folder / "model.safetensors", metadata={"format": "pt"})
    read = BitnetFolder(folder, bitnet_form(folder))
    scaled = (linear_class, mode) == ("autobitlinear", "offline")
    expected = bias * tensors[f"{name}.weight_scale"].float() if scaled else bias
    assert torch.equal(read.bias(name), expected)
    assert read.bias("model.layers.1.self_attn.q_proj") is None


def test_stored_scales_are_the_files_to_the_bit(tmp_path, run):
    folder = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")
    tensors, checkpoint = load_file(folder / "model.safetensors"), run(folder).checkpoint
    for layer, kind in checkpoint:
        stored = tensors[f"{linear_name(layer, kind)}.weight_scale"].float().item()
        assert set(checkpoint.linear(layer, kind).scales.flatten().tolist()) == {stored}


def test_plain_trits_with_a_scale_are_read_as_packed_ones(tmp_path, run):
    packed = save_bitnet(tmp_path / "packed", "autobitlinear", "offline")
    plain = shutil.copytree(packed, tmp_path / "plain")
    tensors = load_file(plain / "model.safetensors")
    for name, value in tensors.items():
        if value.dtype == torch.uint8:
            tensors[name] = torch.cat([(value >> 2 * i & 3).bfloat16() - 1 for i in range(4)])
    save_file(tensors, plain / "model.safetensors", metadata={"format": "pt"})
    first, second = run(packed), run(plain)
    assert first.manifest.weights_sha256 == second.manifest.weights_sha256
    assert first.manifest.perplexity == second.manifest.perplexity


def test_the_first_models_names_are_known(tmp_path, run):
    """``BitnetForCausalLM``: a LLaMA's config with sub-norms under other names, SiLU, master weights."""
    later = save_bitnet(tmp_path / "later", "autobitlinear", "online", hidden_act="silu")
    first = shutil.copytree(later, tmp_path / "first")
    names = {"attn_sub_norm": "inner_attn_ln", "ffn_sub_norm": "ffn_layernorm"}
    tensors = load_file(first / "model.safetensors")
    renamed = {name.replace(*pair): value for name, value in tensors.items() for pair in [_pair(name, names)]}
    save_file(renamed, first / "model.safetensors", metadata={"format": "pt"})
    change_config(
        first,
        model_type="llama",
        architectures=["BitnetForCausalLM"],
        weight_bits=1,
        input_bits=8,
        quantization_config=None,
    )
    assert run(first).manifest.perplexity == run(later).manifest.perplexity


def _pair(name, names):
    return next(((theirs, ours) for theirs, ours in names.items() if theirs in name), ("", ""))


@pytest.mark.parametrize("tied", [True, False])
def test_i2_s_is_the_folder_it_was_made_of(tied, tmp_path, run, monkeypatch):
    folder = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline", tied=tied)
    loaded = load_model(resolve(str(folder)))
    linears = {}
    for (layer, kind), linear in _linears(run(folder).checkpoint):
        data = i2_s(linear.trits[0], linear.scales.flat[0])
        linears[f"{linear_name(layer, kind)}.weight"] = data, linear.trits.shape[1:], I2_S
    path = write_gguf(tmp_path / "model.gguf", "bitnet-b1.58", loaded.model, linears)
    other = load_model(resolve(str(path)))
    assert other.shape.sub_norms
    assert other.shape.activation == "relu2"
    tokens = torch.arange(30)[None] % VOCABULARY
    with torch.no_grad(), int8_activations(other.model), int8_activations(loaded.model):
        assert torch.equal(other.model(tokens).logits, loaded.model(tokens).logits)
    stored = run(path).checkpoint
    for key, linear in _linears(run(folder).checkpoint):
        assert np.array_equal(stored.linear(*key).trits, linear.trits)
        assert np.array_equal(stored.linear(*key).scales, linear.scales)


def test_tq2_0_gives_the_files_trits_and_transformers_weights(tmp_path, run):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=512,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 10000.0},
    )
    model, random = LlamaForCausalLM(config), np.random.default_rng(0)
    linears, written = {}, {}
    for linear in decoder_linears(model):
        n, k = linear.module.weight.shape
        trits = random.integers(-1, 2, (n, k)).astype(np.int8)
        scales = random.uniform(0.01, 0.1, (n, k // 256)).astype(np.float16)
        written[linear.layer, linear.kind] = trits, scales
        heads = {"q_proj": 4, "k_proj": 2}.get(linear.kind)
        stored = (pairs(trits, heads), pairs(scales, heads)) if heads else (trits, scales)
        linears[f"{linear.name}.weight"] = tq2_0(*stored), (n, k), int(TQ2_0)
    path = write_gguf(tmp_path / "model.gguf", "llama", model, linears)
    quantized = run(path)
    for key, (trits, scales) in written.items():
        found = quantized.checkpoint.linear(*key)
        assert found.group == 256
        assert np.array_equal(found.trits[0], trits), key
        assert np.array_equal(found.scales[0], scales.astype(np.float32)), key
    for linear in decoder_linears(load_model(resolve(str(path))).model):  # loaded by transformers
        solution = quantized.checkpoint.solution(linear.layer, linear.kind)
        assert torch.equal(linear.module.weight, solution.dense()), linear.name
    assert quantized.manifest.perplexity["a16"] == quantized.manifest.perplexity["fp"]
    assert quantized.manifest.calibration.startswith("nothing")


def _linears(checkpoint: Checkpoint):
    return [(key, checkpoint.linear(*key)) for key in checkpoint]


def test_other_methods_are_refused_and_native_needs_trits(tmp_path, tiny_folder, run):
    folder = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")
    with pytest.raises(
        InputError, match=r"holds ternary weights already.*method 'rtn' would quantize again; give method native"
    ):
        run(folder, method="rtn")
    with pytest.raises(InputError, match="method native needs weights that are ternary already"):
        run(tiny_folder, method="native")


UP = "model.layers.0.mlp.up_proj.weight"
FAULTS = {
    "a scale that is missing": (lambda t: t.pop(f"{UP}_scale"), "up_proj.weight_scale' is missing"),
    "a linear that is missing": (lambda t: t.pop(UP), "up_proj.weight' is missing"),
    "a norm that is missing": (
        lambda t: t.pop("model.layers.0.mlp.ffn_sub_norm.weight"),
        "ffn_sub_norm.weight' is missing",
    ),
    "a tensor too many": (
        lambda t: t.update({"model.layers.2.mlp.x.weight": torch.ones(2)}),
        "x.weight' has no place",
    ),
    "a code that is no trit": (lambda t: t[UP].fill_(0xFF), "must hold trits, not values up to 2"),
    "a scale of zero": (lambda t: t[f"{UP}_scale"].zero_(), "must be one finite number"),
    "a wrong size": (
        lambda t: t.update({UP: torch.zeros(3, 128, dtype=torch.uint8)}),
        "must be 64 x 128, not 3 x 128",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damaged_folders_are_refused_by_the_tensors_name(fault, tmp_path, run):
    folder = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")
    tensors = load_file(folder / "model.safetensors")
    change, message = FAULTS[fault]
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match=message):
        run(folder)


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ({"use_rms_norm": True}, "use_rms_norm must be false"),
        ({"linear_class": "other"}, "linear_class must be bitlinear or autobitlinear"),
        ({"modules_to_not_convert": 5}, "modules_to_not_convert must be a list of modules, not 5"),
        (
            {"modules_to_not_convert": ["model.layers.0.mlp.up_proj"]},
            "must name no decoder linear, not 'model.layers.0.mlp.up_proj'",
        ),
    ],
)
def test_settings_that_change_the_function_are_refused(field, message, tmp_path, run):
    folder = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")
    form = {"quant_method": "bitnet", "linear_class": "autobitlinear", "quantization_mode": "offline"}
    change_config(folder, quantization_config=form | field)
    with pytest.raises(InputError, match=message):
        run(folder)


def test_a_mixed_gguf_file_is_refused_by_the_tensors_name_and_type(tmp_path, run):
    folder = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")
    loaded = load_model(resolve(str(folder)))
    key, linear = _linears(run(folder).checkpoint)[0]
    name = f"{linear_name(*key)}.weight"
    data = i2_s(linear.trits[0], 0.5)
    path = write_gguf(
        tmp_path / "model.gguf", "bitnet-b1.58", loaded.model, {name: (data, linear.trits.shape[1:], I2_S)}
    )
    with pytest.raises(InputError, match=r"tensor 'blk\.0\.attn_k\.weight' must be of a ternary type.*not F32"):
        run(path)


@pytest.mark.slow
def test_the_simulation_takes_the_checkpoint_straight_to_the_array(tmp_path, tiny_text):
    folder = save_bitnet(tmp_path / "bitnet", "autobitlinear", "offline")
    command = [
        "-m",
        "energy",
        "sim",
        "--model",
        folder,
        "--array",
        "8x8",
        "--prefill",
        "16",
        "--decode",
        "2",
        "--text",
        tiny_text,
        "--json",
    ]
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (manifest,) = (tmp_path / "build/models/bitnet").glob("native-*/manifest.json")
    assert '"method": "native"' in manifest.read_text()
