"""How a method is carried over a model: linear by linear, block by block, or the whole model at once."""
