"""microGPT on the whole-token machine: names written on the compiled RTL, cycles and tokens per second."""
