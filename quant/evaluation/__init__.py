"""Evaluation as it is published: tasks through lm-eval, of data sets or generated, and perplexity of texts."""
