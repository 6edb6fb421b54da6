"""WKVQuant's way over a model: K and V quantized while blocks learn, channels of both balanced, losses blocks later."""
