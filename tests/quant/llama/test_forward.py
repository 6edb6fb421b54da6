"""Claims: states of all batches equal the whole model's, for streamed models too."""

import torch

from quant.llama.blocks import int8_activations, logits_of
from quant.llama.forward import hidden_states
from quant.llama.loading import load_model
from quant.procedures.calibrate import token_windows
from quant.source import resolve
from tests.quant.tiny import TEXT


def test_states_of_batches_equal_the_whole_model(tiny, tiny_folder):
    batches = token_windows(tiny.tokenizer.encode(TEXT), 20, 5, "words").split(2)
    counts = []
    for model in (tiny.model, load_model(resolve(str(tiny_folder)), streamed=True).model):
        found = list(hidden_states(model, batches, True, lambda done, total: counts.append((done, total))))
        for tokens, states in zip(batches, found, strict=True):
            with torch.no_grad(), int8_activations(tiny.model):
                assert torch.equal(logits_of(model, states), tiny.model(tokens).logits)
        assert counts[-1] == (6, 6)
