"""Prose out of a text: its paragraphs and sentences, without tables, code and headings."""

import re

__all__ = ["paragraphs", "sentences"]

_BREAK = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[a-z)\"'”’][.!?])\s+(?=[A-Z\"“])")
_MARKUP = re.compile(r"[`*|<>{}=\\_~@#]|::|\.\.\.|  ")
_LEAST_WORDS, _MOST_WORDS = 6, 40  # of a sentence that is taken


def paragraphs(text: str) -> list[list[str]]:
    """Sentences of each paragraph that is prose and has two or more."""
    found = []
    for block in _BREAK.split(text):
        flat = re.sub(r"\s*\n\s*", " ", block.strip())
        if len(parts := sentences(flat)) > 1:
            found.append(parts)
    return found


def sentences(paragraph: str) -> list[str]:
    """The run of whole sentences at a paragraph's beginning: each plain words of usual length."""
    found = []
    for part in _SENTENCE.split(paragraph):
        words = part.split()
        plain = not _MARKUP.search(part) and part[:1].isupper() and part[-1:] in ".!?"
        if not plain or not _LEAST_WORDS <= len(words) <= _MOST_WORDS:
            break
        found.append(part)
    return found
