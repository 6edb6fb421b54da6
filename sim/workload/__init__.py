"""Lists of matrix products from and for other simulators: SCALE-Sim, ZigZag, Timeloop, AccelForge, plain CSV."""
