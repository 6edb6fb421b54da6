"""Tasks made of a text: the last word of a passage, the true next sentence against three others, whole pages."""

import random

from hw.errors import InputError
from quant.evaluation.generated.prose import paragraphs
from quant.evaluation.generated.task import GeneratedTask
from quant.text import NamedText, last_word_passages

__all__ = ["last_words", "next_sentence", "pages"]

_PASSAGES, _CONTEXT_WORDS = 500, 60
_QUESTIONS, _CHOICES = 300, 4
_PAGE_CHARACTERS, _PAGES = 2000, 60
_ACCURACY = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}


def last_words(text: NamedText, seed: int) -> GeneratedTask:
    """The last word of sentences from the 60 words before it, right where every token is the first choice.

    Ref: Paperno et al., LAMBADA, arXiv 1606.06031; its passages were chosen by people, these are evenly spread.

    Raises:
        InputError: a text without such a sentence.
    """
    found = last_word_passages(text.text, _PASSAGES, _CONTEXT_WORDS, fewer=True)
    items = [{"context": context, "word": word} for context, word in found]
    return GeneratedTask(
        name="last_words",
        fields={
            "output_type": "loglikelihood",
            "doc_to_text": "{{context}}",
            "doc_to_target": "{{' ' + word}}",  # of this type lm-eval asks for the target as it stands
            "target_delimiter": "",
            "num_fewshot": 0,
            "metric_list": [
                _ACCURACY,
                {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
            ],
        },
        items=items,
    )


def next_sentence(text: NamedText, seed: int) -> GeneratedTask:
    """Which of four sentences comes next: the true one, or one of three from other paragraphs of the same text.

    Ref: Zellers et al., HellaSwag, arXiv 1905.07830, for the form; its wrong endings were written by a model and
    filtered against others, these are real sentences, so the task is easier.

    Raises:
        InputError: a text with fewer than four paragraphs of prose.
    """
    prose, draw = paragraphs(text.text), random.Random(seed)
    if len(prose) < _CHOICES:
        raise InputError(
            f"text {text.name!r} for next_sentence must hold {_CHOICES} paragraphs of two or more plain sentences, "
            f"not {len(prose)}; give a longer --prose"
        )
    places = [(number, at) for number, parts in enumerate(prose) for at in range(1, len(parts))]
    chosen = sorted(draw.sample(places, min(_QUESTIONS, len(places))))
    items = []
    for number, at in chosen:
        others = draw.sample([other for other in range(len(prose)) if other != number], _CHOICES - 1)
        choices = [draw.choice(prose[other][1:]) for other in others]
        label = draw.randrange(_CHOICES)
        choices.insert(label, prose[number][at])
        items.append({"context": " ".join(prose[number][max(0, at - 3) : at]), "choices": choices, "label": label})
    return GeneratedTask(
        name="next_sentence",
        fields={
            "output_type": "multiple_choice",
            "doc_to_text": "{{context}}",
            "doc_to_choice": "choices",
            "doc_to_target": "label",
            "target_delimiter": " ",
            "num_fewshot": 0,
            "metric_list": [_ACCURACY, {**_ACCURACY, "metric": "acc_norm"}],
        },
        items=items,
    )


def pages(text: NamedText, seed: int) -> GeneratedTask:
    """Pages of about 2000 characters, spread evenly over a text: word perplexity, and bits per byte of UTF-8.

    Bits per byte compare models of different tokenizers. Ref: lm-eval's task wikitext, whose pages are articles.

    Raises:
        InputError: a text without a paragraph.
    """
    found, page = [], ""
    for block in filter(None, (block.strip() for block in text.text.split("\n\n"))):
        page = f"{page}\n\n{block}" if page else block
        if len(page) >= _PAGE_CHARACTERS:
            found, page = [*found, page], ""
    found = found or [page]
    kept = [found[number * len(found) // min(_PAGES, len(found))] for number in range(min(_PAGES, len(found)))]
    return GeneratedTask(
        name="pages",
        fields={
            "output_type": "loglikelihood_rolling",
            "doc_to_text": "",
            "doc_to_target": "{{page}}",
            "num_fewshot": 0,
            "metric_list": [{"metric": "word_perplexity"}, {"metric": "bits_per_byte"}],
        },
        items=[{"page": one} for one in kept],
    )
