"""Committed result files of quantization and their tables."""
