"""Checkpoints whose decoder linears are ternary already: BitNet b1.58 directories, GGUF TQ1_0, TQ2_0 and I2_S."""
