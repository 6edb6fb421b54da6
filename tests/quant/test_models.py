"""Shipped model shapes: every file is valid, names itself, names its source, and reproduces published counts."""

import pytest

from quant.shapes import load_shape, model_names

PUBLISHED = [name for name in model_names() if load_shape(name).parameters is not None]


def test_twenty_models_ship():
    assert len(model_names()) >= 20
    assert {"llama2-7b", "llama2-70b", "smollm2-135m", "stories260K"} <= set(model_names())


@pytest.mark.parametrize("name", model_names())
def test_file_names_itself_and_its_source(name):
    shape = load_shape(name)
    assert shape.name == name
    assert len(shape.source) > 20
    assert (shape.parameters is None) == (shape.parameters_source is None)


@pytest.mark.parametrize("name", PUBLISHED)
def test_dimensions_reproduce_the_published_parameter_count(name):
    shape = load_shape(name)
    assert shape.total_parameters == shape.parameters


def test_llama2_7b_counted_by_hand():
    # 32 layers of (4 attention squares, 3 MLP matrices, 2 norms), final norm, embedding and head.
    by_hand = 32 * (4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096) + 4096 + 2 * 32000 * 4096
    assert load_shape("llama2-7b").total_parameters == by_hand == 6_738_415_616


def test_stories260k_counted_by_hand():
    # The figure in its name: tied embedding, 8 heads of 8, 4 kv heads.
    by_hand = 512 * 64 + 5 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 64 * 172 + 2 * 64) + 64
    assert load_shape("stories260K").total_parameters == by_hand


# Name, transformers' family where it is not LLaMA, and the count that is published or that its parts add up to.
TRANSFORMERS = {"mistral": "mistral", "qwen2.5": "qwen2", "bitnet": "bitnet"}


@pytest.mark.parametrize("name", model_names())
def test_every_count_is_that_of_the_familys_definition(name):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    shape = load_shape(name)
    family = next((kind for start, kind in TRANSFORMERS.items() if name.startswith(start)), "llama")
    config = transformers.CONFIG_MAPPING[family](
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.kv_heads,
        vocab_size=shape.vocab_size,
        tie_word_embeddings=shape.tie_embeddings,
        pad_token_id=0,
    )
    with torch.device("meta"):
        model = transformers.AutoModelForCausalLM.from_config(config)
    assert shape.total_parameters == model.num_parameters()


def test_the_first_3b_bitnet_counted_by_hand():
    # 26 layers of (4 attention squares, 3 MLP matrices, 2 norms, sub-norms of 3200 and 8640), a norm, a tied table.
    by_hand = 26 * (4 * 3200**2 + 3 * 3200 * 8640 + 2 * 3200 + 3200 + 8640) + 3200 + 32002 * 3200
    assert load_shape("bitnet_b1_58-3B").total_parameters == by_hand == 3_324_387_840
