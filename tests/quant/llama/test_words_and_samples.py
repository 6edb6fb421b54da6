"""Last words against a loop over sentences, accuracy of half-right words, and generated text against plain sampling."""

import re
import types

import pytest
import torch

from hw.errors import InputError
from quant.llama.evaluate import LastWord, last_word_accuracy, last_words, perplexity
from quant.llama.generate import generate_windows, rows_that_fit
from quant.procedures.calibrate import token_windows
from tests.quant.tiny import TEXT


class Letters:
    """One token per character, so that a word has as many as it has letters and the space before it."""

    def encode(self, text):
        return [ord(letter) for letter in text]


def sentences(count: int, words: int) -> str:
    return "".join(
        " ".join(f"w{'abcdefghij'[(3 * s + i) % 10]}" for i in range(words - 1)) + f" end{'abcdefghij'[s % 10]}. "
        for s in range(count)
    )


def naive_last_words(text, passages, context):
    """Sentence ends with more than ``context`` words before the last, evenly spread."""
    ends = [m.start() for m in re.finditer(r"(?<=[a-z])[.!?](?=\s)", text)]
    usable = [end for end in ends if len(text[:end].split()) > context + 1]
    found = []
    for i in range(passages):
        words = text[: usable[i * len(usable) // passages]].split()
        before, last = " ".join(words[-context - 1 : -1]), words[-1]
        found.append(LastWord([ord(c) for c in f"{before} {last}"], len(last) + 1))
    return found


@pytest.mark.parametrize(("passages", "context"), [(3, 5), (7, 5), (4, 12)])
def test_passages_are_spread_evenly_and_have_the_context_asked_for(passages, context):
    text = sentences(20, 4)
    assert last_words(Letters(), text, passages, context) == naive_last_words(text, passages, context)


def test_sixty_words_of_context_by_default():
    text = sentences(40, 4)
    assert last_words(Letters(), text, 5) == naive_last_words(text, 5, 60)


def test_the_first_sentence_with_enough_words_is_used_and_one_with_less_is_not():
    text = "aa bb cc dd. ee. "
    assert last_words(Letters(), text, 1, 3)[0].tokens == [ord(c) for c in "bb cc dd. ee"]  # five words, not four
    with pytest.raises(InputError, match="must hold 1 sentences after 4 words, not 0"):
        last_words(Letters(), text, 1, 4)


def test_words_whose_tokens_do_not_follow_from_their_context_are_left_out():
    class Changing(Letters):
        def encode(self, text):
            return super().encode(text) if text.endswith("dd.") else [0]

    assert last_words(Changing(), "aa bb cc dd. ee. ", 1, 3) == []


def test_a_word_that_is_half_right_is_wrong(tiny):
    tokens = tiny.tokenizer.encode(TEXT)[:9]
    with torch.no_grad():
        first = tiny.model(torch.tensor([tokens])).logits[0, -1].argmax().item()
        second = tiny.model(torch.tensor([[*tokens, first]])).logits[0, -1].argmax().item()
        other = (first + 1) % 40
        after_other = tiny.model(torch.tensor([[*tokens, other]])).logits[0, -1].argmax().item()
    right, begun, ended = [first, second], [first, (second + 1) % 40], [other, after_other]
    passages = [LastWord([*tokens, *word], 2) for word in (right, begun, ended, begun)]
    assert last_word_accuracy(tiny.model, passages[:1], int8=False) == 1
    assert last_word_accuracy(tiny.model, passages, int8=False) == 0.25


def test_perplexity_ends_at_a_mean_loss_of_700(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 8, 2, "words")
    with torch.no_grad():
        tiny.model.lm_head.weight.mul_(1e5)  # tied: the logits grow with its square
    assert perplexity(tiny.model, windows, int8=False) == pytest.approx(torch.tensor(700.0).double().exp().item())


def test_generated_text_equals_sampling_with_whole_passes(tiny):
    """No cache, row by row: the prompt is kept for its length, then each token drawn at temperature 0.95."""
    windows = token_windows(tiny.tokenizer.encode(TEXT), 60, 2, "words")
    done = []
    found = generate_windows(tiny.model, windows, 18, 52, 3, lambda *seen: done.append(seen))
    assert done == [(16, 18), (18, 18)]
    generator, flat, rows = torch.Generator().manual_seed(3), windows.flatten(), []
    for size in (16, 2):
        begin = torch.randint(len(flat) - 48, (size, 1), generator=generator)
        kept_from = flat[begin + torch.arange(48)]
        kept = torch.randint(1, 49, (size,), generator=generator)
        tokens = kept_from[:, :1]
        while tokens.shape[1] < 52:
            with torch.no_grad():
                logits = tiny.model(tokens).logits[:, -1]
            drawn = torch.multinomial((logits / 0.95).softmax(-1), 1, generator=generator)
            place = tokens.shape[1]
            for row in range(size):
                if place < kept[row]:
                    drawn[row, 0] = kept_from[row, place]
            tokens = torch.cat([tokens, drawn], 1)
        rows.append(tokens)
    assert (found == torch.cat(rows)).float().mean() > 0.9  # a draw at the border of two tokens may differ, and go on
    assert (found == torch.cat(rows)).all(1).float().mean() > 0.7


def test_rows_that_fit_beside_the_weights():
    config = types.SimpleNamespace(
        num_hidden_layers=32, num_key_value_heads=8, hidden_size=4096, num_attention_heads=32, head_dim=None
    )

    def model(count, **changes):
        sized = types.SimpleNamespace(numel=lambda: count)
        return types.SimpleNamespace(
            config=types.SimpleNamespace(**vars(config) | changes), parameters=lambda: iter([sized])
        )

    # keys and values of 32 layers x 8 heads x 128 x 512 tokens, two bytes each; 37 GB less 2 bytes a weight
    row = 2 * 32 * 8 * 128 * 512 * 2
    assert rows_that_fit(model(8_000_000_000), 512) == int((37e9 - 16e9) / row) == 312
    assert rows_that_fit(model(8_000_000_000, head_dim=64), 512) == int((37e9 - 16e9) / (row / 2))
    assert rows_that_fit(model(1_000_000), 2) == 3072
    assert rows_that_fit(model(18_499_999_999), 512) == 1
