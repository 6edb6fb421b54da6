"""Post-training ternary quantization of LLaMA models: shapes, solvers, checkpoints, evaluation, recording."""
