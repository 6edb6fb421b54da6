"""Which entries of a byte-level BPE vocabulary are kept, and the tokenizer without the others.

An entry is made by a merge of two others, its parts; entries that no merge makes (pieces of one byte) and special
tokens are always kept, and an entry is kept only with its parts, so whatever the tokenizer could encode, it still can:
what an entry stood for is then two or more pieces. Nothing here imports torch.

Ref: Sennrich et al., "Neural machine translation of rare words with subword units", arXiv 1508.07909, section 3.2.
"""

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from heapq import heapify, heappop, heappush
from typing import NamedTuple

from hw.errors import InputError

__all__ = ["Vocabulary", "check_entries", "kept_entries", "pieces_of", "pruned_tokenizer", "read_vocabulary"]

Document = dict[str, object]  # what a tokenizer.json holds


class Vocabulary(NamedTuple):
    """Entries of a tokenizer by id, and what the merges say of them.

    ``parts``: of an id that a merge makes, the ids of the two that it joins, of its first merge where it has several;
    ``always``: ids that cannot be left out.
    """

    count: int
    parts: Mapping[int, tuple[int, int]]
    always: frozenset[int]


def read_vocabulary(document: Document, where: str) -> Vocabulary:
    """Entries and merges of a ``tokenizer.json``; ``where`` names it in errors.

    Raises:
        InputError: a tokenizer that is not byte-level BPE, or whose special tokens are not among its entries.
    """
    model, decoder = document["model"], document.get("decoder") or {}
    if model.get("type") != "BPE" or "ByteLevel" not in str(decoder):
        raise InputError(
            f"{where}: to cut its vocabulary a tokenizer must be byte-level BPE, not {model.get('type')} with the "
            f"decoder {decoder.get('type')}"
        )
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise InputError(
            f"{where}: to cut its vocabulary, entries must be bytes alone, with no prefix or suffix of words"
        )
    ids, parts = model["vocab"], {}
    for merge in model["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        if left + right in ids:
            parts.setdefault(ids[left + right], (ids[left], ids[right]))
    added = {token["id"] for token in document.get("added_tokens", ())}
    count = max([*ids.values(), *added]) + 1
    always = added | (set(ids.values()) - parts.keys())
    return Vocabulary(count, {made: pair for made, pair in parts.items() if made not in added}, frozenset(always))


def check_entries(vocabulary: Vocabulary, entries: int) -> None:
    """Refuse a number of entries that is none to cut to.

    Raises:
        InputError: fewer entries than cannot be left out, or as many as there are.
    """
    least, most = len(vocabulary.always), len(vocabulary.always | vocabulary.parts.keys())
    if not least <= entries < most:
        raise InputError(
            f"entries must be from {least}, the special tokens and pieces of one byte, to {most - 1}, one less than "
            f"there are now, not {entries}"
        )


def kept_entries(vocabulary: Vocabulary, counts: Mapping[int, int], entries: int) -> list[int]:
    """The ids of ``entries`` entries that are kept, ascending.

    BPE backwards: of the entries that are no other's part the least frequent goes, of equally frequent ones the last
    merged, and its two parts are then that much more frequent, until ``entries`` are left. ``counts``: how often a text
    has each id.

    Raises:
        InputError: fewer entries than cannot be left out, or as many as there are.
    """
    check_entries(vocabulary, entries)
    frequency = {entry: counts.get(entry, 0) for entry in vocabulary.always | vocabulary.parts.keys()}
    users = Counter(part for pair in vocabulary.parts.values() for part in set(pair))
    leaves = [(frequency[entry], -entry) for entry in vocabulary.parts if not users[entry]]
    heapify(leaves)
    kept = set(frequency)
    while len(kept) > entries:
        count, entry = heappop(leaves)
        entry = -entry
        if count < frequency[entry]:  # it has become a part of what went since
            heappush(leaves, (frequency[entry], -entry))
            continue
        kept.remove(entry)
        for part in vocabulary.parts[entry]:
            frequency[part] += count
        for part in set(vocabulary.parts[entry]):
            users[part] -= 1
            if not users[part] and part in vocabulary.parts:
                heappush(leaves, (frequency[part], -part))
    return sorted(kept)


def pieces_of(vocabulary: Vocabulary, kept: Sequence[int]) -> list[tuple[int, ...]]:
    """Of every old id, the new ids that stand for it: its own, or those of its parts; () of an id without an entry."""
    new = {old: number for number, old in enumerate(kept)}
    found: dict[int, tuple[int, ...]] = {old: (number,) for old, number in new.items()}
    for entry in vocabulary.parts:
        waiting = [entry]
        while waiting:
            one = waiting[-1]
            left = [part for part in vocabulary.parts.get(one, ()) if part not in found] if one not in found else []
            if left:
                waiting += left
                continue
            if one not in found:
                first, second = vocabulary.parts[one]
                found[one] = found[first] + found[second]
            waiting.pop()
    return [found.get(old, ()) for old in range(vocabulary.count)]


def pruned_tokenizer(document: Document, kept: Sequence[int]) -> Document:
    """The ``tokenizer.json`` of the kept entries, numbered anew in their order, with the merges that are left."""
    new = {old: number for number, old in enumerate(kept)}
    found = copy.deepcopy(document)
    model = found["model"]
    model["vocab"] = {text: new[old] for text, old in document["model"]["vocab"].items() if old in new}
    merges = []
    for merge in document["model"]["merges"]:
        left, right = merge.split(" ") if isinstance(merge, str) else merge
        if {left, right, left + right} <= model["vocab"].keys():
            merges.append(merge)
    model["merges"] = merges
    found["added_tokens"] = [token | {"id": new[token["id"]]} for token in document.get("added_tokens", ())]
    special = (found.get("post_processor") or {}).get("special_tokens")
    for token in special.values() if isinstance(special, dict) else ():
        token["ids"] = [new[old] for old in token["ids"]]
    return found
