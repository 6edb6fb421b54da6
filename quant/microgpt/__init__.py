"""A tiny public language model of names (Karpathy's microGPT as LLaMA): trained in ternary here, in seconds."""
