"""config.json: every field is read, known to be irrelevant, or named in a refusal; counts are transformers' own."""

import json

import pytest
import torch
import transformers

from hw.errors import InputError
from quant.families import FAMILIES
from quant.hf_config import shape_from_config, shape_from_hf_config

SIZES = {
    "hidden_size": 640,
    "intermediate_size": 96,
    "num_hidden_layers": 12,
    "num_attention_heads": 160,  # a multiple of every family's default number of key-value heads
    "vocab_size": 300,
    "max_position_embeddings": 256,
    "pad_token_id": 0,
}


def read(**fields):
    config = SIZES | {"model_type": "llama"} | fields
    return shape_from_config({k: v for k, v in config.items() if v is not ...}, "x", "a test", "x/config.json")


def of_transformers(model_type, **fields):
    config = transformers.CONFIG_MAPPING[model_type](**SIZES | fields)
    with torch.device("meta"):
        return config, transformers.AutoModelForCausalLM.from_config(config)


# What a config that leaves out everything but the sizes means, by the family's own definition.
@pytest.mark.parametrize("model_type", FAMILIES)
def test_absent_fields_mean_what_transformers_takes(model_type):
    config, model = of_transformers(model_type)
    shape = read(model_type=model_type)
    assert shape.total_parameters == model.num_parameters()
    assert shape.kv_heads == config.num_key_value_heads
    assert shape.rms_norm_eps == config.rms_norm_eps
    assert shape.tie_embeddings == config.tie_word_embeddings
    rope = config.rope_parameters
    assert shape.rope_theta == rope.get("full_attention", rope)["rope_theta"]
    types = getattr(config, "layer_types", None)
    window = getattr(config, "sliding_window", None) or None
    windows = [window] * 12 if types is None else [window if kind == "sliding_attention" else None for kind in types]
    assert [shape.window(layer) for layer in range(12)] == windows


@pytest.mark.parametrize(
    ("model_type", "fields"),
    [
        ("llama", {"attention_bias": True, "mlp_bias": True, "num_key_value_heads": 2}),
        ("mistral", {"sliding_window": 9}),
        ("mistral", {"sliding_window": None, "num_key_value_heads": 160}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 5}),
        ("qwen2", {"sliding_window": 7, "num_key_value_heads": 4}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 0}),
        ("qwen3", {"attention_bias": True, "head_dim": 48, "num_key_value_heads": 1}),
        ("smollm3", {"use_sliding_window": True, "sliding_window": 5, "no_rope_layer_interval": 3}),
        ("gemma3_text", {"sliding_window_pattern": 3, "sliding_window": 8}),
        ("gemma2", {"layer_types": ["full_attention"] * 11 + ["sliding_attention"], "attention_bias": True}),
        ("granite", {"mlp_bias": True, "attention_bias": True}),
        ("phi3", {"sliding_window": 12, "num_key_value_heads": 2}),
        ("mixtral", {"num_local_experts": 5, "num_experts_per_tok": 3, "sliding_window": 11}),
        ("qwen2_moe", {"num_experts": 6, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 56}),
        ("qwen3_moe", {"num_experts": 16, "decoder_sparse_step": 2, "mlp_only_layers": [1, 4], "head_dim": 32}),
    ],
)
def test_fields_mean_what_transformers_makes_of_them(model_type, fields, tmp_path):
    config, model = of_transformers(model_type, **fields)
    config.save_pretrained(tmp_path)
    shape = shape_from_hf_config(tmp_path / "config.json")
    assert shape == read(model_type=model_type, **fields).model_copy(
        update={"name": shape.name, "source": shape.source}
    )
    assert shape.total_parameters == model.num_parameters()
    layers = model.model.layers
    reads = [getattr(layer.self_attn, "sliding_window", getattr(config, "sliding_window", None)) for layer in layers]
    assert [shape.window(layer) for layer in range(12)] == [window or None for window in reads]


def test_smollm3_layers_without_rope():
    assert read(model_type="smollm3").layers_without_rope == (3, 7, 11)
    assert read(model_type="smollm3", no_rope_layers=[0, *[1] * 11]).layers_without_rope == (0,)


def test_granites_constants_of_one_cost_nothing():
    assert read(model_type="granite").scaled == ()
    assert read(model_type="granite", residual_multiplier=0.2, logits_scaling=8.0).scaled == ("residual", "logits")


def test_first_bitnets_have_sub_norms():
    plain = read(tie_word_embeddings=True)
    bitnet = read(architectures=["BitnetForCausalLM"], weight_bits=1, input_bits=8, tie_word_embeddings=True)
    assert bitnet.total_parameters == plain.total_parameters + 12 * (640 + 96)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model_type": "gpt2"}, r"'model_type' must be one of .*llama.*, not 'gpt2'"),
        ({"model_type": "gemma3", "text_config": {}}, r"'model_type' .*take the text model out of it"),
        ({"num_local_experts": 8}, r"'num_local_experts' \(8\): not a field that llama models read"),
        ({"sliding_window": 4096}, r"'sliding_window' \(4096\): not a field that llama models read"),
        ({"logits_scaling": 2.0, "clip_qkv": 8}, r"'logits_scaling' \(2\.0\), 'clip_qkv' \(8\): not a field"),
        ({"model_type": "mistral", "attention_bias": True}, r"'attention_bias' \(True\): not a field that mistral"),
        ({"hidden_act": "relu"}, r"'hidden_act' must be one of silu.*, not 'relu'"),
        ({"hidden_act": "gelu"}, r"'hidden_act' must be one of silu.*, not 'gelu'"),
        ({"hidden_act": ["silu"]}, r"'hidden_act' must be one of silu"),
        ({"rope_parameters": [10000.0]}, r"'rope_parameters' must be a mapping of fields, not \[10000\.0\]"),
        ({"rope_scaling": "linear"}, r"'rope_scaling' must be a mapping of fields, not 'linear'"),
        ({"rope_scaling": {"type": "ntk", "factor": 2}}, r"'rope_scaling\.rope_type' must be one of .*not 'ntk'"),
        ({"rope_scaling": {"type": "linear", "factor": "2"}}, r"'rope_scaling\.factor' must be a number above 0"),
        ({"rope_scaling": {"type": "linear", "alpha": 3}}, r"'rope_scaling\.alpha' \(3\) is not known here"),
        ({"num_attention_heads": [4]}, r"'num_attention_heads' must be an integer of at least 1, not \[4\]"),
        ({"num_hidden_layers": True}, r"'num_hidden_layers' must be an integer of at least 1, not True"),
        ({"num_hidden_layers": ...}, r"'num_hidden_layers' must be an integer of at least 1, not None"),
        ({"num_key_value_heads": 3}, r"heads must be a multiple of kv_heads, not 160 of 3"),
        ({"attention_bias": "yes"}, r"'attention_bias' must be true or false, not 'yes'"),
        ({"rms_norm_eps": -1}, r"'rms_norm_eps' must be a number above 0, not -1"),
        ({"architectures": ["LlamaForSequenceClassification"]}, r"'architectures' must be \['LlamaForCausalLM'\]"),
        ({"layer_types": ["sliding_attention"] * 12}, r"'layer_types' must be what llama models do"),
        (
            {"model_type": "qwen2", "layer_types": ["chunked"] * 12},
            r"'layer_types' must be a list of full_attention or",
        ),
        (
            {"model_type": "qwen2", "layer_types": ["sliding_attention"] * 12},
            r"'sliding_window' must be there \(and switched on\) as layer_types has sliding_attention",
        ),
        ({"model_type": "mixtral", "num_local_experts": 2, "num_experts_per_tok": 3}, r"at most the 2 experts, not 3"),
        (
            {"model_type": "qwen3_moe", "num_experts": 8, "num_local_experts": 9},
            r"'num_experts' must be what num_local_experts is \(9\), not 8",
        ),
        ({"model_type": "qwen2_moe", "num_local_experts": 9}, r"'num_local_experts' \(9\): not a field that qwen2_moe"),
        ({"model_type": "qwen3_moe", "decoder_sparse_step": None}, r"'decoder_sparse_step' must be an integer of at"),
        ({"model_type": "smollm3", "no_rope_layer_interval": None}, r"'no_rope_layer_interval' must be an integer of"),
        (
            {"model_type": "qwen2", "use_sliding_window": True, "max_window_layers": None},
            r"'max_window_layers' must be an integer of at least 0, not None",
        ),
        ({"head_dim": 5}, r"'head_dim' must be even values of a head that are rotated, not 5"),
        ({"hidden_size": 96}, r"'hidden_size' must be at least the 160 heads where head_dim is not given, not 96"),
        ({"partial_rotary_factor": 0.5}, r"'partial_rotary_factor' must be 1, as llama models rotate whole heads"),
        ({"rope_scaling": {"type": "linear", "factor": 2, "partial_rotary_factor": 0.5}}, r"must be 1, as llama"),
        ({"model_type": "phi3", "partial_rotary_factor": 0}, r"'partial_rotary_factor' must be a number above 0"),
        ({"model_type": "phi3", "full_attn_mod": 2}, r"'full_attn_mod' \(2\): not a field that phi3 models read"),
        (
            {"model_type": "bitnet", "head_dim": 8},
            r"'head_dim' must be hidden_size / num_attention_heads \(640 / 160\)",
        ),
        ({"is_causal": False}, r"'is_causal' \(False\): not a field that llama models read"),
        (
            {"model_type": "gemma2", "hidden_act": "silu"},
            r"'hidden_act' must be what hidden_activation is \('gelu_pytorch_tanh'\), not 'silu'",
        ),
        (
            {"model_type": "gemma3_text", "_sliding_window_pattern": 3},
            r"'_sliding_window_pattern' must be 6 where layer_types is not given, not 3",
        ),
        (
            {"model_type": "gemma3_text", "rope_parameters": {"rope_type": "linear", "factor": 8.0}},
            r"field 'rope_parameters\.rope_type' \('linear'\) is not known here; known fields: full_attention",
        ),
    ],
)
def test_what_is_not_understood_is_named(fields, message):
    with pytest.raises(InputError, match=message) as caught:
        read(**fields)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("x/config.json: ")


def test_fields_that_ask_for_nothing_are_no_complaint():
    assert read(rope_interleaved=False, num_local_experts=0, quantizer=None, use_cache=True, torch_dtype="bfloat16")
    assert read(layer_types=["full_attention"] * 12)
    assert read(max_sequence_length=2048, is_causal=True, is_decoder=True)
    assert read(model_type="phi3", full_attn_mod=1, interpolate_factor=1)
    assert read(model_type="gemma2", hidden_act="gelu_pytorch_tanh", hidden_activation="gelu_pytorch_tanh")


def test_a_field_given_twice_must_say_the_same(tmp_path):
    path = tmp_path / "config.json"
    fields = json.dumps(SIZES | {"model_type": "llama"})[:-1]
    path.write_text(f'{fields}, "vocab_size": 300}}')
    assert shape_from_hf_config(path).vocab_size == 300
    path.write_text(f'{fields}, "vocab_size": 301}}')
    with pytest.raises(InputError, match=r"config\.json: .*field 'vocab_size' is given twice, as 300 and as 301"):
        shape_from_hf_config(path)


@pytest.mark.parametrize("text", ["", "[]", "nope", "[" * 100000, '{"a": 1'])
def test_what_is_no_config_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json: must be a"):
        shape_from_hf_config(tmp_path / "config.json")


def test_every_field_of_transformers_configs_is_known(tmp_path):
    for model_type in FAMILIES:
        config, _ = of_transformers(model_type)
        config.save_pretrained(tmp_path)
        assert (
            shape_from_hf_config(tmp_path / "config.json").layers
            == json.loads((tmp_path / "config.json").read_text())["num_hidden_layers"]
        )


def test_a_field_of_rope_that_is_null_is_as_one_that_is_absent():
    scaling = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
    wanted = read(rope_scaling=scaling)
    assert wanted.rope_scaling == "yarn"
    assert read(rope_scaling=scaling | {"attention_factor": None, "beta_fast": None, "truncate": False}) == wanted


def test_layers_without_experts_are_those_between_the_steps_and_those_named():
    """Of 12 layers every second has experts, counted from the second; layers 1 and 4 are named."""
    shape = read(model_type="qwen3_moe", num_experts=16, decoder_sparse_step=2, mlp_only_layers=[1, 4])
    assert shape.experts.dense_layers == (0, 1, 2, 4, 6, 8, 10)


def test_even_layers_below_the_limit_have_the_window_of_qwen2_moe():
    fields = {"use_sliding_window": True, "sliding_window": 64, "max_window_layers": 5, "num_experts": 6}
    types = transformers.Qwen2MoeConfig(**SIZES | fields).layer_types
    shape = read(model_type="qwen2_moe", moe_intermediate_size=40, shared_expert_intermediate_size=56, **fields)
    assert [shape.window(layer) for layer in range(12)] == [
        64 if kind == "sliding_attention" else None for kind in types
    ]
    assert {shape.window(layer) for layer in range(12)} == {64, None}
