"""GGUF: the model of every architecture is the one that was written; odd headers are refused by the field's name."""

import struct

import gguf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.errors import InputError
from quant.gguf_config import gguf_config, gguf_shape
from quant.gguf_file import _Cursor, _Damaged, read_gguf, tensor_values
from quant.llama import loading
from quant.llama.self_test import stepped_logits
from quant.source import resolve
from tests.quant.families import family_model
from tests.quant.gguf_models import ARCHITECTURES, metadata, tensors, write_gguf

TOKENS = torch.randint(0, 256, (2, 80), generator=torch.Generator().manual_seed(4))

# What llama.cpp knows by the architecture alone.
FIXED = {
    "smollm3": {"use_sliding_window": False},
    "gemma2": {"query_pre_attn_scalar": 32},
    "gemma3": {
        "query_pre_attn_scalar": 32,
        "num_hidden_layers": 7,
        "layer_types": None,
    },
}


@pytest.fixture(scope="module")
def llama():
    model = family_model("llama")
    return tensors("llama", model), metadata("llama", model)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_logits_are_those_of_the_model_that_was_written(architecture, tmp_path, monkeypatch):
    model = family_model(ARCHITECTURES[architecture][0], **FIXED.get(architecture, {}))
    path = write_gguf(
        tmp_path / "model.gguf", architecture, tensors(architecture, model), metadata(architecture, model)
    )
    monkeypatch.setattr(loading, "load_tokenizer", lambda *_: None)  # the file has none
    source = resolve(str(path))
    assert source.shape.total_parameters == model.num_parameters()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        wanted = model(TOKENS).logits
    got = stepped_logits(loading.load_model(source).model, TOKENS)
    assert (got - wanted).norm() < 1e-4 * wanted.norm()


def test_divided_frequencies_are_llama3s(tmp_path, llama, monkeypatch):
    arrays, fields = llama
    rope = {
        "rope_type": "llama3",
        "rope_theta": 10000.0,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 32,
    }
    plain, scaled = family_model("llama"), family_model("llama", rope_parameters=rope)
    factors = (plain.model.rotary_emb.inv_freq / scaled.model.rotary_emb.inv_freq).numpy()
    path = write_gguf(tmp_path / "model.gguf", "llama", arrays | {"rope_freqs.weight": factors}, fields)
    monkeypatch.setattr(loading, "load_tokenizer", lambda *_: None)
    with torch.no_grad():
        wanted, other = scaled(TOKENS).logits, plain(TOKENS).logits
    got = stepped_logits(loading.load_model(resolve(str(path))).model, TOKENS)
    assert (got - wanted).norm() < 1e-4 * wanted.norm() < 1e-2 * (other - wanted).norm()


def shape_of(tmp_path, llama, extra=None, drop=(), arrays=None):
    fields = {name: value for name, value in (llama[1] | (extra or {})).items() if name not in drop}
    return gguf_shape(read_gguf(write_gguf(tmp_path / "model.gguf", "llama", arrays or llama[0], fields)))


def test_equal_numbers_of_every_block_are_one_number(tmp_path, llama):
    fields = {"llama.attention.head_count": [4] * 4, "llama.feed_forward_length": [96] * 4}
    assert shape_of(tmp_path, llama, fields) == shape_of(tmp_path, llama)


def test_what_llama_cpp_takes_for_absent_fields(tmp_path, llama):
    drop = ("llama.attention.head_count_kv", "llama.rope.freq_base", "llama.vocab_size")
    shape = shape_of(tmp_path, llama, drop=drop)
    assert (shape.kv_heads, shape.rope_theta, shape.vocab_size) == (4, 10000.0, 256)


def test_windows_and_experts_under_architecture_llama(tmp_path, llama):
    assert shape_of(tmp_path, llama, {"llama.attention.sliding_window": 9}).windows == {9: 4}
    experts = shape_of(tmp_path, llama, {"llama.expert_count": 4, "llama.expert_used_count": 2}).experts
    assert (experts.count, experts.per_token, experts.size) == (4, 2, 96)
    path = tmp_path / "model.gguf"
    with pytest.raises(InputError, match="mixtures of experts are known by their dimensions only"):
        loading.load_model(resolve(str(path)))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            {"llama.attention.head_count": [4, 4, 4, 2]},
            r"'llama\.attention\.head_count' must be one number, or",
        ),
        ({"llama.attention.head_count": 0}, r"'llama\.attention\.head_count' must be an integer of at least 1, not 0"),
        ({"llama.attention.head_count": "four"}, r"'llama\.attention\.head_count' must be an integer"),
        ({"llama.block_count": ["a"]}, r"'llama\.block_count' must be a number, not 'an array of strings'"),
        ({"llama.rope.scaling.type": "ntk", "llama.rope.scaling.factor": 2.0}, r"'llama\.rope\.scaling\.type' must be"),
        ({"llama.rope.scaling.type": "yarn"}, r"'llama\.rope\.scaling\.factor' is missing"),
        ({"llama.rope.dimension_count": 8}, r"'llama\.rope\.dimension_count' must be the 16 of a head, not 8"),
        ({"llama.attention.value_length": 8}, r"'llama\.attention\.value_length' must be 16 as keys have, not 8"),
        ({"llama.attention.clamp_kqv": 8.0}, r"'llama\.attention\.clamp_kqv' \(8\.0\) is not known here"),
        ({"llama.vocab_size": 300}, r"'llama\.vocab_size' must be the 256 rows of token_embd, not 300"),
        ({"split.count": 2}, r"is one of 2 files of a split model \(field 'split\.count'\)"),
        ({"general.type": "adapter"}, r"'general\.type' must be model, not 'adapter'"),
        ({"general.architecture": "gpt2"}, r"'general\.architecture' must be one of llama, .*not 'gpt2'"),
        ({"llama.attention.causal": False}, r"'llama\.attention\.causal' must be true, not False"),
        ({"llama.logit_scale": 2.0}, r"'llama\.logit_scale' \(2\.0\) is none that models of architecture 'llama' have"),
        ({"llama.rope.freq_base": -1.0}, r"'llama\.rope\.freq_base' must be a number above 0, not -1\.0"),
        ({"llama.rope.scaling.factor": -4.0}, r"'llama\.rope\.scaling\.factor' must be a number above 0, not -4\.0"),
    ],
)
def test_odd_metadata_are_refused_by_name(tmp_path, llama, extra, message):
    file = read_gguf(write_gguf(tmp_path / "model.gguf", "llama", llama[0], llama[1]))
    with pytest.raises(InputError, match=message):
        gguf_shape(file._replace(fields=dict(file.fields) | read_back(tmp_path, extra)))


def read_back(tmp_path, fields):
    """Fields as a reader sees them."""
    named = {name: value for name, value in fields.items() if name != "general.architecture"}
    found = dict(read_gguf(write_gguf(tmp_path / "fields.gguf", "llama", {"x": np.zeros(1, np.float32)}, named)).fields)
    found.pop("general.architecture")
    return found | {name: value for name, value in fields.items() if name == "general.architecture"}


def test_yarn_is_the_configs_yarn(tmp_path, llama):
    extra = {
        "llama.rope.scaling.type": "yarn",
        "llama.rope.scaling.factor": 4.0,
        "llama.rope.scaling.original_context_length": 64,
    }
    file = read_gguf(write_gguf(tmp_path / "model.gguf", "llama", llama[0], llama[1] | extra))
    rope = {"rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 64}
    assert gguf_config(file)["rope_parameters"] == rope


@pytest.mark.parametrize("name", ["rope.scaling.factor", "rope.scale_linear"])
def test_a_factor_without_a_kind_is_linear_as_llama_cpp_takes_it(tmp_path, llama, name, monkeypatch):
    path = write_gguf(tmp_path / "model.gguf", "llama", llama[0], llama[1] | {f"llama.{name}": 4.0})
    scaled = family_model("llama", rope_parameters={"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0})
    monkeypatch.setattr(loading, "load_tokenizer", lambda *_: None)
    with torch.no_grad():
        wanted = scaled(TOKENS).logits
    got = stepped_logits(loading.load_model(resolve(str(path))).model, TOKENS)
    assert (got - wanted).norm() < 1e-4 * wanted.norm()
    assert "rope_scaling" not in gguf_config(read_gguf(path))
    none = llama[1] | {f"llama.{name}": 4.0, "llama.rope.scaling.type": "none"}
    assert gguf_shape(read_gguf(write_gguf(path, "llama", llama[0], none))).rope_scaling is None


def test_gemma3_scales_the_layers_without_a_window_alone(tmp_path, monkeypatch):
    wanted = {
        "full_attention": {"rope_type": "linear", "rope_theta": 1e6, "factor": 8.0},
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
    }
    model = family_model("gemma3", **FIXED["gemma3"], rope_parameters=wanted)
    fields = metadata("gemma3", model) | {"gemma3.rope.scaling.type": "linear", "gemma3.rope.scaling.factor": 8.0}
    path = write_gguf(tmp_path / "model.gguf", "gemma3", tensors("gemma3", model), fields)
    assert gguf_config(read_gguf(path))["rope_parameters"] == wanted
    monkeypatch.setattr(loading, "load_tokenizer", lambda *_: None)
    model.set_attn_implementation("eager")
    with torch.no_grad():
        logits = model(TOKENS).logits
    got = stepped_logits(loading.load_model(resolve(str(path))).model, TOKENS)
    assert (got - logits).norm() < 1e-4 * logits.norm()


@pytest.mark.parametrize(("values", "extra"), [(7, {}), (8, {"llama.rope.scaling.factor": 2.0})])
def test_divisors_of_frequencies_must_fit_and_stand_alone(tmp_path, llama, values, extra):
    arrays = llama[0] | {"rope_freqs.weight": np.full(values, 2.0, np.float32)}
    with pytest.raises(InputError, match=r"must have 8 values, one for each|'llama\.rope\.scaling\.type' must be none"):
        shape_of(tmp_path, llama, extra, arrays=arrays)


def header(fields: bytes, field_count: int, tensors: bytes, tensor_count: int) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", 3, tensor_count, field_count) + fields + tensors


def entry(name: bytes, values: int, offset: int) -> bytes:
    return struct.pack("<Q", len(name)) + name + struct.pack("<IQIQ", 1, values, 0, offset)


@pytest.mark.parametrize(
    ("offsets", "data", "message"),
    [
        ((0, 32), 64, None),
        ((0, 0), 64, r"tensor 'b' starts at byte \d+, within another"),
        ((0, 28), 64, r"tensor 'b' starts at byte \d+, within another or off the alignment"),
        ((0, 32), 96, r"32 bytes after the last tensor, at an alignment of 32"),
    ],
)
def test_tensors_share_no_bytes_and_the_last_ends_the_file(tmp_path, offsets, data, message):
    table = b"".join(entry(name, 8, offset) for name, offset in zip((b"a", b"b"), offsets, strict=True))
    start = header(b"", 0, table, 2)
    path = tmp_path / "model.gguf"
    path.write_bytes(start + bytes(-len(start) % 32) + bytes(data))
    if message is None:
        assert [tensor.shape for tensor in read_gguf(path).tensors.values()] == [(8,), (8,)]
    else:
        with pytest.raises(InputError, match=message):
            read_gguf(path)


def test_a_tensor_twice_is_refused(tmp_path):
    table = entry(b"a", 8, 0) + entry(b"a", 8, 32)
    start = header(b"", 0, table, 2)
    path = tmp_path / "model.gguf"
    path.write_bytes(start + bytes(-len(start) % 32) + bytes(64))
    with pytest.raises(InputError, match="tensor 'a' twice"):
        read_gguf(path)


def test_missing_and_unknown_tensors_are_named(tmp_path, llama):
    arrays = {name: array for name, array in llama[0].items() if name != "blk.2.ffn_up.weight"}
    for given_arrays, message in (
        (arrays, r"tensor 'blk\.2\.ffn_up\.weight' is missing"),
        (
            llama[0] | {"blk.0.attn_q_norm.weight": np.ones(16, np.float32)},
            r"'blk\.0\.attn_q_norm\.weight' is there",
        ),
    ):
        path = write_gguf(tmp_path / "model.gguf", "llama", given_arrays, llama[1])
        with pytest.raises(InputError, match=message):
            loading.load_model(resolve(str(path)))


@pytest.mark.parametrize("kind", ["Q4_0", "Q8_0", "BF16", "F16"])
def test_values_are_those_that_the_gguf_package_gives(tmp_path, kind):
    kind = gguf.GGMLQuantizationType[kind]
    values = np.random.default_rng(0).standard_normal((3, 64)).astype(np.float32)
    writer = gguf.GGUFWriter(tmp_path / "x.gguf", "llama")
    writer.add_tensor("w", gguf.quants.quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    found = tensor_values(read_gguf(tmp_path / "x.gguf"), "w")
    theirs = gguf.GGUFReader(tmp_path / "x.gguf").tensors[0]
    assert np.array_equal(found, gguf.quants.dequantize(theirs.data, theirs.tensor_type).reshape(3, 64))


@pytest.mark.parametrize("number", [9, 77])  # Q8_1, which cannot be dequantized, and a type of the future
def test_types_that_are_not_supported_are_called_so(tmp_path, llama, number):
    path = write_gguf(tmp_path / "model.gguf", "llama", llama[0], llama[1])
    data = bytearray(path.read_bytes())
    name = b"blk.1.ffn_up.weight"
    at = data.index(name) + len(name) + 4 + 2 * 8
    assert struct.unpack_from("<I", data, at) == (0,)
    struct.pack_into("<I", data, at, number)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"tensor 'blk\.1\.ffn_up\.weight' has GGML type \w+, which is not supported"):
        loading.load_model(resolve(str(path)))


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_damaged_headers_are_refused_in_one_line(tmp_path_factory, data):
    folder = tmp_path_factory.getbasetemp()
    whole = folder / "whole.gguf"
    if not whole.is_file():
        fields = {"llama.block_count": 1, "llama.attention.head_count": [2, 2], "general.name": "x"}
        write_gguf(whole, "llama", {"token_embd.weight": np.zeros((4, 8), np.float32)}, fields)
    raw = bytearray(whole.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    path = folder / "damaged.gguf"
    path.write_bytes(raw[: data.draw(st.integers(0, len(raw)))])
    said = ""
    try:
        gguf_shape(read_gguf(path))
    except InputError as error:
        said = str(error)
    assert "\n" not in said


def test_bytes_behind_the_end_are_not_skipped():
    cursor = _Cursor(b"0123456789", 6)
    assert cursor.skip(4) == 6
    with pytest.raises(_Damaged):
        _Cursor(b"0123456789", 6).skip(5)


@pytest.mark.parametrize(("version", "named"), [(b"\0\0\0\3", "big-endian byte order"), (b"\11\0\0\0", "version 9")])
def test_another_version_is_told_from_another_byte_order(version, named, tmp_path):
    path = tmp_path / "other.gguf"
    path.write_bytes(b"GGUF" + version + bytes(40))
    with pytest.raises(InputError, match=f"GGUF of {named} is not supported here"):
        read_gguf(path)
