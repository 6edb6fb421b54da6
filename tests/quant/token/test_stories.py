"""A real small LLaMA in integers alone: stories260K writes a story and keeps its perplexity."""

from pathlib import Path

import numpy as np
import pytest
import torch

from quant.llama.blocks import decoder_linears
from quant.llama.loading import load_model
from quant.methods.digits import Options, solve
from quant.source import resolve
from quant.token.build import token_model
from quant.token.job import TokenFormat
from quant.token.perplexity import float_losses, integer_losses

MODELS = Path(__file__).parents[4] / "shared" / "data" / "models"


@pytest.fixture(scope="module")
def stories():
    path = MODELS / "stories260K.bin"
    if not path.is_file():
        pytest.skip("no stories260K.bin beside the checkout")
    loaded, solutions = load_model(resolve(str(path))), {}
    with torch.no_grad():
        for linear in decoder_linears(loaded.model):
            solutions[linear.layer, linear.kind] = solve(linear.module.weight, None, Options())
            linear.module.weight.copy_(solutions[linear.layer, linear.kind].dense())
    text = (MODELS / "tinystories_sample_3k.txt").read_text(encoding="utf-8")
    windows = np.array(loaded.tokenizer.encode(text)[: 128 * 6]).reshape(6, 128)
    form = TokenFormat(key_digits=5, value_digits=5)
    return loaded, token_model(loaded, lambda *at: solutions[at], form, windows[:1], 256), windows[1:]


def test_it_writes_english(stories):
    loaded, model, _ = stories
    text = loaded.tokenizer.decode(list(model.generate(loaded.tokenizer.encode("Once upon a time"), 40, model.state())))
    assert text.startswith(", there was a little girl named")
    assert model.flags.saturated == 0


def test_perplexity_is_within_a_percent_of_float_attention_with_the_same_trits(stories):
    loaded, model, windows = stories
    tables = (model.embedding, model.head)
    change = np.concatenate([integer_losses(model, w) - float_losses(loaded, w, tables) for w in windows])
    assert abs(np.expm1(change.mean())) < 0.01
