"""What-if studies: axes over a base job, a row per combination with its metrics or its reason, and the Pareto front."""
