"""Sizes, bits and methods together: the quality of whole models beside what they store and what a token costs."""
