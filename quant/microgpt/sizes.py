"""microGPT's sizes as gateGPT has them, and what its dialect adds; without torch."""

__all__ = ["CALIBRATION", "CONTEXT", "EPSILON", "HEADS", "HIDDEN", "INTERMEDIATE", "THETA"]

HIDDEN, HEADS, INTERMEDIATE, CONTEXT = 24, 4, 64, 16
THETA = 100.0  # RoPE's base: the slowest of the 12 pairs turns by a quarter of a radian in 16 tokens
EPSILON = 1e-5
CALIBRATION = "calibration.txt"  # file beside a checkpoint: names that the integer model's shifts are calibrated on
