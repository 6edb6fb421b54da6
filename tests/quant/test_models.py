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
