"""Embedding and head by themselves, in ternary digits or of a cut vocabulary: trained, stored and measured."""
