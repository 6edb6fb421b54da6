"""Quantized weights: the solution of a linear, its storage, the packed checkpoint."""
