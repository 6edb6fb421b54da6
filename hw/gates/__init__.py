"""Gates: mapping to a Liberty cell library, timing, glitch-aware simulation and energy of multiply-accumulates."""
