"""K and V as a cache holds them: formats, their quantizers, and attention that reads quantized tokens."""
