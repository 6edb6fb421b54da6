"""Task vectors: a factor per row of a finished run's linears, tuned on a text, swapped on the same trits."""
