"""The embedding of a token out of the weight tiles of its table."""
