"""A time budget on the machine at hand, turned into steps of training that are then the same everywhere."""
