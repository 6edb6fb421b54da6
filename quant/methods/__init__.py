"""One file per quantization method, and the contract that they keep (``method``)."""
