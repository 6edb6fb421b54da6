"""Notebook: from a model to a decision in ten cells, kept as a plain .py, written and executed as .ipynb."""
