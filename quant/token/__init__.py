"""From a quantized checkpoint to the whole token in integers (``hw.token``): weights, constants, measurements."""
