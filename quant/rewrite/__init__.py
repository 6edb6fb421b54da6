"""Other weights, the same function: rotations and channel balance before quantization."""
