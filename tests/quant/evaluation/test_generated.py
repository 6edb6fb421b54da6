"""Claims: generated tasks ask what they say, out of the text alone, the same for a seed; none is ambiguous."""

import json

import pytest
import yaml

from hw.errors import InputError
from quant.evaluation.generated.names import GENERATED, PATTERNS
from quant.evaluation.generated.patterns import copy_words, cycle_words, plural_pairs
from quant.evaluation.generated.prose import paragraphs, sentences
from quant.evaluation.generated.texts import last_words, next_sentence, pages
from quant.text import NamedText, evaluation_text

TOPICS = evaluation_text(None)


def test_prose_is_whole_sentences_without_code_or_tables():
    text = (
        "The first sentence is plain and long. The second one is plain as well here. It has\na line break inside of it."
        "\n\n   >>> import this\n\nOne sentence alone is no paragraph for us here.\n\n"
        "This one starts well enough for all. But `code` ends the run of plain sentences. This is not taken at all."
    )
    assert paragraphs(text) == [
        [
            "The first sentence is plain and long.",
            "The second one is plain as well here.",
            "It has a line break inside of it.",
        ]
    ]
    assert sentences("Too short. This one would have been long enough.") == []


def test_the_next_sentence_is_the_one_that_follows_in_the_text():
    task, flat = next_sentence(TOPICS, 0), " ".join(TOPICS.text.split())
    assert len(task.items) > 100
    labels = [item["label"] for item in task.items]
    assert all(labels.count(label) > len(labels) // 8 for label in range(4))
    for item in task.items:
        right = item["choices"][item["label"]]
        assert f"{item['context']} {right}" in flat
        wrong = [choice for at, choice in enumerate(item["choices"]) if at != item["label"]]
        assert not any(f"{item['context']} {choice}" in flat for choice in wrong)
    assert task.items == next_sentence(TOPICS, 0).items
    assert task.items != next_sentence(TOPICS, 1).items


def test_a_last_word_ends_its_sentence():
    flat = " ".join(TOPICS.text.split())
    items = last_words(TOPICS, 0).items
    assert len(items) == 500
    for item in items[::25]:
        assert len(item["context"].split()) == 60
        at = flat.index(f"{item['context']} {item['word']}") + len(f"{item['context']} {item['word']}")
        assert flat[at] in ".!?"


def test_pages_are_parts_of_the_text_in_its_order():
    items = pages(TOPICS, 0).items
    flat = " ".join(TOPICS.text.split())
    place = 0
    for item in items:
        place = flat.index(" ".join(item["page"].split()), place)
    assert len(items) == 60
    assert all(len(item["page"]) >= 2000 for item in items)
    assert [item["page"] for item in pages(NamedText("short", "one page"), 0).items] == ["one page"]


@pytest.mark.parametrize("make", [copy_words, plural_pairs, cycle_words])
def test_patterns_have_items_and_other_examples(make):
    task = make(0)
    given, shown = ({item["given"] for item in rows} for rows in (task.items, task.shots))
    assert len(task.items) >= 100
    assert len(task.shots) == 40
    assert not given & shown
    assert make(0) == task
    assert make(1).items != task.items


def test_patterns_answers_are_right():
    for item in copy_words(0).items:
        assert item["given"] == f"{item['answer']} :"
    for item in cycle_words(0).items:
        row = [*item["given"].split(), item["answer"]]
        period = len(set(row))
        assert row == [row[at % period] for at in range(len(row))]
        assert len(row) > 2 * period
    plurals = {item["given"]: item["answer"] for item in (*plural_pairs(0).items, *plural_pairs(0).shots)}
    assert (plurals["dog :"], plurals["mouse :"], plurals["wolf :"]) == ("dogs", "mice", "wolves")
    words = {word for item in copy_words(0).shots for word in item["answer"].split()}
    assert not words & {word for item in copy_words(0).items for word in item["answer"].split()}


def test_a_task_is_written_as_lm_eval_reads_it(tmp_path):
    copy_words(0).write(tmp_path)
    document = yaml.safe_load((tmp_path / "copy_words.yaml").read_text())
    assert document["dataset_kwargs"]["data_files"] == {"test": "copy_words.jsonl", "shots": "copy_words.shots.jsonl"}
    lines = (tmp_path / "copy_words.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == copy_words(0).items


def test_texts_that_tasks_cannot_be_made_of_are_refused():
    with pytest.raises(InputError, match=r"^text 'a.txt' for next_sentence must hold 4 paragraphs .* not 0; give a"):
        next_sentence(NamedText("a.txt", "Hello."), 0)
    with pytest.raises(InputError, match=r"^text for last words must hold 1 sentences after 60 words, not 0$"):
        last_words(NamedText("a.txt", "Hello."), 0)


def test_the_groups_name_every_task():
    assert GENERATED == ("last_words", "next_sentence", "pages", "copy_words", "plural_pairs", "cycle_words")
    assert GENERATED[3:] == PATTERNS
