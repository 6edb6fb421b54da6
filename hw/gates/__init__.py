"""Gates: synthesis with a Liberty cell library, timing, glitch-aware simulation and energy of multiply-accumulate circuits."""
