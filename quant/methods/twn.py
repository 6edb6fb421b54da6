"""The threshold of Ternary Weight Networks. Ref: Li et al., arXiv 1605.04711, section 2.3."""

__all__ = ["TWN_THRESHOLD"]

TWN_THRESHOLD = 0.75  # of mean|w|: smaller weights become zero
