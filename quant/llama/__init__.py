"""Decoder models as torch modules: loading, stepped forward, evaluation, generation, recording."""
