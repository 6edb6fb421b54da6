"""Finished runs written as what other runtimes load: Hugging Face directories and .gguf files."""
