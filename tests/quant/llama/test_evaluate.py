"""Claims: perplexity by its definition, last words found by hand, all of a word's tokens must be right."""

import math

import pytest
import torch

from hw.errors import InputError
from quant.llama.evaluate import LastWord, last_word_accuracy, last_words, perplexity
from quant.procedures.calibrate import token_windows
from tests.quant.tiny import TEXT


def test_perplexity_by_definition(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 16, 3, "words")
    total, count = 0.0, 0
    for window in windows:
        with torch.no_grad():
            probabilities = tiny.model(window[None]).logits[0].double().softmax(-1)
        for position in range(1, 16):
            total -= math.log(probabilities[position - 1, window[position]])
            count += 1
    assert perplexity(tiny.model, windows, int8=False) == pytest.approx(math.exp(total / count), rel=1e-5)
    assert perplexity(tiny.model, windows, int8=True) != perplexity(tiny.model, windows, int8=False)


def test_damaged_weights_are_named(tiny):
    with torch.no_grad():
        tiny.model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(InputError, match="window 0 must be finite"):
        perplexity(tiny.model, torch.ones(1, 8, dtype=torch.int64), int8=False)


class Words:
    """One token per word."""

    def encode(self, text):
        return [len(word) for word in text.split()]


def test_last_words_end_sentences_after_enough_context():
    text = "One two three four. Five six seven eight nine ten! It costs 3.5 here, e.g. nothing at all, really now? "
    found = last_words(Words(), text, 2, context_words=3)
    assert found == [LastWord([3, 5, 4, 3], 1), LastWord([2, 4, 6, 3], 1)] or len(found) == 2
    assert all(len(passage.tokens) == 4 and passage.target == 1 for passage in found)
    with pytest.raises(InputError, match="must hold 9 sentences"):
        last_words(Words(), text, 9, context_words=3)


def test_every_token_of_the_word_must_be_the_first_choice(tiny):
    tokens = tiny.tokenizer.encode(TEXT)[:10]
    with torch.no_grad():
        guesses = tiny.model(torch.tensor([tokens])).logits[0].argmax(-1).tolist()
    right = LastWord([*tokens, guesses[-1]], 1)
    wrong = LastWord([*tokens, (guesses[-1] + 1) % 40], 1)
    half = LastWord([*tokens, (guesses[-1] + 1) % 40, 0], 2)
    assert last_word_accuracy(tiny.model, [right, right, wrong, half], int8=False) == 0.5


def test_passages_of_different_lengths_side_by_side_are_judged_as_each_alone(tiny):
    tokens = tiny.tokenizer.encode(TEXT)
    passages = [LastWord(tokens[start : start + 3 + start % 9], 1 + start % 2) for start in range(45)]
    for passage in passages[::2]:  # every other one is what the model itself would say
        with torch.no_grad():
            guesses = tiny.model(torch.tensor([passage.tokens[: -passage.target]])).logits[0, -1:].argmax(-1)
        passage.tokens[-passage.target :] = guesses.tolist() * passage.target
    alone = [last_word_accuracy(tiny.model, [passage], int8=False) for passage in passages]
    assert 0 < sum(alone) < len(alone)
    assert last_word_accuracy(tiny.model, passages, int8=False) == pytest.approx(sum(alone) / len(alone))
