"""Entries of a cut vocabulary: by hand on a small BPE, and against the tokenizers library on any text."""

import argparse
import json
from collections import Counter
from pathlib import Path
from pydoc_data.topics import topics

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from hw.errors import InputError
from quant.vocabulary.cut.entries import kept_entries, pieces_of, pruned_tokenizer, read_vocabulary

TEXT = "\n\n".join(topics[name] for name in sorted(topics)[:12])


def trained(entries: int) -> Tokenizer:
    """A byte-level BPE of the built-in text, special tokens at the end as in Qwen's and LLaMA-3's."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=entries, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False
    )
    tokenizer.train_from_iterator([TEXT], trainer)
    tokenizer.add_special_tokens(["<|end|>"])
    return tokenizer


FULL = trained(900)
DOCUMENT = json.loads(FULL.to_str())
VOCABULARY = read_vocabulary(DOCUMENT, "here")
COUNTS = Counter(FULL.encode(TEXT).ids)


def cut_to(entries: int) -> tuple[Tokenizer, list[int]]:
    kept = kept_entries(VOCABULARY, COUNTS, entries)
    return Tokenizer.from_str(json.dumps(pruned_tokenizer(DOCUMENT, kept))), kept


CUT, KEPT = cut_to(500)


def small(merges: list[tuple[str, str]]) -> dict[str, object]:
    """The letters a to d, and what the merges make, in their order; a special token behind them."""
    entries = [*"abcd", *(left + right for left, right in merges)]
    return {
        "model": {"type": "BPE", "vocab": {text: number for number, text in enumerate(entries)}, "merges": merges},
        "decoder": {"type": "ByteLevel"},
        "added_tokens": [{"id": len(entries), "content": "<s>"}],
    }


def test_an_entry_is_kept_with_its_parts_and_the_rest_is_cut_into_pieces():
    document = small([("a", "b"), ("c", "d"), ("ab", "cd"), ("abcd", "a"), ("b", "b")])  # ids 4 to 8, <s> is 9
    vocabulary = read_vocabulary(document, "here")
    assert vocabulary.always == {0, 1, 2, 3, 9}
    # abcda (7) goes first and leaves abcd (6) its three: eight, more than bb (8) has, which goes next.
    kept = kept_entries(vocabulary, {7: 3, 6: 5, 8: 6}, 8)
    assert kept == [0, 1, 2, 3, 4, 5, 6, 9]
    assert pieces_of(vocabulary, kept)[7:] == [(6, 0), (1, 1), (7,)]
    assert kept_entries(vocabulary, {7: 3, 6: 5, 8: 6}, 9) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    # ab and cd are parts of abcd, which is left last.
    assert kept_entries(vocabulary, {6: 5}, 8) == [0, 1, 2, 3, 4, 5, 6, 9]
    pruned = pruned_tokenizer(document, kept)
    assert pruned["model"]["merges"] == [("a", "b"), ("c", "d"), ("ab", "cd")]
    assert pruned["model"]["vocab"] == {"a": 0, "b": 1, "c": 2, "d": 3, "ab": 4, "cd": 5, "abcd": 6}
    assert pruned["added_tokens"] == [{"id": 7, "content": "<s>"}]


def test_without_counts_the_first_merges_are_kept():
    assert kept_entries(VOCABULARY, {}, 300) == [*range(299), 900]


def test_a_prefix_of_the_merges_encodes_as_the_pieces_say():
    """Where only the last merges go, the tokenizer's own result is each token's pieces, one after the other."""
    kept = kept_entries(VOCABULARY, {}, 400)
    pieces = pieces_of(VOCABULARY, kept)
    cut = Tokenizer.from_str(json.dumps(pruned_tokenizer(DOCUMENT, kept)))
    assert cut.encode(TEXT).ids == [piece for token in FULL.encode(TEXT).ids for piece in pieces[token]]


def test_a_text_of_another_kind_takes_fewer_tokens_than_the_first_merges_alone():
    code = Path(argparse.__file__).read_text(encoding="utf-8")[:40000]
    counts = Counter(FULL.encode(code).ids)
    lengths = [
        len(
            Tokenizer.from_str(json.dumps(pruned_tokenizer(DOCUMENT, kept_entries(VOCABULARY, seen, 500))))
            .encode(code)
            .ids
        )
        for seen in (counts, {})
    ]
    assert lengths[0] < 0.95 * lengths[1]


def test_the_built_in_text_comes_back():
    found = CUT.encode(TEXT).ids
    assert CUT.decode(found) == TEXT
    assert max(found) < 500
    assert CUT.token_to_id("<|end|>") == 499


@settings(max_examples=200, deadline=None)
@given(
    st.one_of(
        st.text(),
        st.binary().map(lambda data: data.decode("utf-8", "replace")),
        st.binary().map(lambda data: data.decode("latin-1")),
    )
)
def test_any_text_comes_back(text):
    assert CUT.decode(CUT.encode(text).ids, skip_special_tokens=False) == text


@settings(max_examples=50, deadline=None)
@given(st.integers(257, 899), st.dictionaries(st.integers(0, 899), st.integers(0, 9)))
def test_every_cut_has_as_many_entries_as_asked_for_and_each_with_its_parts(entries, counts):
    kept = kept_entries(VOCABULARY, counts, entries)
    assert len(set(kept)) == entries
    for entry in kept:
        assert set(VOCABULARY.parts.get(entry, ())) <= set(kept)
    names = {number: text for text, number in DOCUMENT["model"]["vocab"].items()}
    for old, found in enumerate(pieces_of(VOCABULARY, kept)[:900]):
        assert "".join(names[kept[new]] for new in found) == names[old]


@pytest.mark.parametrize("entries", [256, 901, 5000])
def test_too_few_or_too_many_entries_are_refused(entries):
    with pytest.raises(InputError, match=rf"^entries must be from 257, .* to 900, .*, not {entries}$"):
        kept_entries(VOCABULARY, COUNTS, entries)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"decoder": {"type": "Fuse"}}, "must be byte-level BPE, not BPE with the decoder Fuse"),
        ({"model": {"type": "Unigram"}}, "must be byte-level BPE, not Unigram"),
        ({"model": DOCUMENT["model"] | {"end_of_word_suffix": "</w>"}}, "with no prefix or suffix of words"),
    ],
)
def test_other_tokenizers_are_refused(change, words):
    with pytest.raises(InputError, match=rf"^here: to cut its vocabulary.*{words}"):
        read_vocabulary(DOCUMENT | change, "here")
