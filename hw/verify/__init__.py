"""Somebody else's array against the golden model: products with their exact sums, and the pytest fixtures for them."""
