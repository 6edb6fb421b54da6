"""After loading: what our stepped forward pass leaves out is found, windows longer than any probe included."""

import pytest
import torch

from hw.errors import InputError
from quant.llama import blocks, self_test
from quant.llama.loading import load_model
from quant.llama.self_test import probe_tokens, reference_logits, short_window, stepped_logits
from quant.source import resolve
from tests.quant.families import save_family

LONG = 4096
WINDOWED = {
    "mistral": {"sliding_window": LONG, "max_position_embeddings": 2 * LONG},
    "qwen2 with windows": {"sliding_window": LONG, "max_position_embeddings": 2 * LONG},
    "gemma2": {"sliding_window": LONG, "max_position_embeddings": 2 * LONG},
    "gemma3": {"sliding_window": LONG, "max_position_embeddings": 2 * LONG},
    "phi3": {"sliding_window": LONG, "max_position_embeddings": 2 * LONG},
    "smollm3": {"sliding_window": LONG, "max_position_embeddings": 2 * LONG},
}


@pytest.fixture(scope="module", params=WINDOWED)
def saved(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("windowed") / request.param.replace(" ", "-")
    save_family(request.param, folder, **WINDOWED[request.param])
    return folder


def without_window(model, block, hidden, real=blocks.layer_arguments):
    """What the layer gets, with the mask of a whole context."""
    arguments = dict(real(model, block, hidden))
    length = hidden.shape[1]
    mask = torch.full((length, length), torch.finfo(torch.float32).min).triu(1)
    return arguments | {"attention_mask": mask[None, None]}


def test_a_dropped_window_is_found_however_long_the_window_is(saved, monkeypatch):
    assert load_model(resolve(str(saved)))
    monkeypatch.setattr(blocks, "layer_arguments", without_window)
    with pytest.raises(InputError, match=r"logits of the loaded model must be those of transformers' own forward pass"):
        load_model(resolve(str(saved)))


def test_the_window_is_short_during_the_probe_alone(saved):
    loaded = load_model(resolve(str(saved)))
    model, tokens = loaded.model, probe_tokens(loaded.shape)
    assert tokens.shape == (1, 48)
    assert model.config.sliding_window == LONG
    whole = stepped_logits(model, tokens)
    with short_window(model):
        short = stepped_logits(model, tokens)
        assert torch.allclose(short, reference_logits(model, tokens), atol=1e-3)
    assert (short - whole).norm() > 1e-2 * whole.norm()
    assert torch.equal(stepped_logits(model, tokens), whole)


def test_a_window_that_is_short_already_stays(tmp_path):
    save_family("mistral", tmp_path / "model", sliding_window=self_test._WINDOW)
    model = load_model(resolve(str(tmp_path / "model"))).model
    with short_window(model):
        assert model.config.sliding_window == self_test._WINDOW
