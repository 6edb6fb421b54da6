"""Names of the generated tasks, for those who read rows and generate nothing."""

__all__ = ["GENERATED", "OF_TEXT", "PATTERNS"]

OF_TEXT = ("last_words", "next_sentence", "pages")
PATTERNS = ("copy_words", "plural_pairs", "cycle_words")  # those that have examples
GENERATED = (*OF_TEXT, *PATTERNS)
