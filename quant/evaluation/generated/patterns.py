"""Word patterns that solved examples teach: copies, plurals, cycles; made by a seed out of everyday words.

What they ask is trivial once it is understood, so accuracy over 0 to 5 examples says how well a model learns in
context. Words stand between colons and commas alone, which every tokenizer has.

Ref: Brown et al., GPT-3, arXiv 2005.14165, section 3.9.2 (word manipulation); Olsson et al., In-context Learning and
Induction Heads, arXiv 2209.11895 (copies and cycles).
"""

import random

from quant.evaluation.generated.task import GeneratedTask

__all__ = ["copy_words", "cycle_words", "plural_pairs"]

_ITEMS, _SHOTS = 200, 40
_COPIED, _CYCLE = 3, (2, 3)  # words that are copied; lengths of a cycle
_NOUN_LIST = """
apple arm bag ball bat bed bee bell bird boat book bottle boy bridge broom brother bucket button cake camel
candle cap car carrot cat chair chicken cloud clock coat cook cow cup desk dog doll door dress drum duck eagle
ear egg elephant eye farm field finger flower fork friend frog garden gate girl goat hand hat hill horse house
hour island jar key king kite lamp lake leg lemon letter lion map monkey moon mountain mouth nail neck nest net
nose nut oven owl pan parrot pear pen pencil pig pillow pin plate pond pot queen rabbit rat ring river road rock
roof room rope sail school seed sheet ship shirt shoe shop sister snake sock song spoon star stone street sun
table tail tent tiger towel town toy train tree truck turtle wall wheel window wing wolf worm yard
"""
_NOUNS = tuple(_NOUN_LIST.split())
_IRREGULAR = {
    "child": "children", "foot": "feet", "goose": "geese", "man": "men", "mouse": "mice", "tooth": "teeth",
    "woman": "women", "wolf": "wolves", "leaf": "leaves", "knife": "knives", "half": "halves", "loaf": "loaves",
    "baby": "babies", "city": "cities", "lady": "ladies", "berry": "berries", "fly": "flies", "story": "stories",
    "box": "boxes", "fox": "foxes", "bus": "buses", "dish": "dishes", "brush": "brushes", "glass": "glasses",
    "peach": "peaches", "church": "churches", "watch": "watches", "bench": "benches", "potato": "potatoes",
    "tomato": "tomatoes",
}  # fmt: skip
_FIELDS = {
    "output_type": "loglikelihood",
    "doc_to_text": "{{given}}",
    "doc_to_target": "{{' ' + answer}}",  # of this type lm-eval asks for the target as it stands
    "target_delimiter": "",
    "fewshot_delimiter": ", ",
    "metric_list": [
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
        {"metric": "perplexity", "aggregation": "perplexity", "higher_is_better": False},
    ],
}


def copy_words(seed: int) -> GeneratedTask:
    """Three words, a colon, and the same three words; no example holds an item's words."""
    draw = random.Random(f"copy {seed}")
    words = draw.sample(_NOUNS, len(_NOUNS))
    kept, spare = words[: 3 * len(words) // 4], words[3 * len(words) // 4 :]

    def items(count: int, of: list[str]) -> list[dict[str, object]]:
        rows = [" ".join(draw.sample(of, _COPIED)) for _ in range(count)]
        return [{"given": f"{row} :", "answer": row} for row in rows]

    return GeneratedTask("copy_words", _FIELDS, items(_ITEMS, kept), items(_SHOTS, spare))


def plural_pairs(seed: int) -> GeneratedTask:
    """A noun, a colon, and its plural; examples are of other nouns."""
    draw = random.Random(f"plural {seed}")
    pairs = {noun: f"{noun}s" for noun in _NOUNS} | _IRREGULAR
    rows = [{"given": f"{one} :", "answer": many} for one, many in draw.sample(sorted(pairs.items()), len(pairs))]
    return GeneratedTask("plural_pairs", _FIELDS, rows[_SHOTS:], rows[:_SHOTS])


def cycle_words(seed: int) -> GeneratedTask:
    """Two or three words again and again, and which of them is next: a sequence to be continued."""
    draw = random.Random(f"cycle {seed}")

    def items(count: int) -> list[dict[str, object]]:
        rows = []
        for _ in range(count):
            cycle = draw.sample(_NOUNS, draw.choice(_CYCLE))
            shown = 2 * len(cycle) + draw.randrange(len(cycle))
            row = [cycle[at % len(cycle)] for at in range(shown + 1)]
            rows.append({"given": " ".join(row[:-1]), "answer": row[-1]})
        return rows

    return GeneratedTask("cycle_words", _FIELDS, items(_ITEMS), items(_SHOTS))
