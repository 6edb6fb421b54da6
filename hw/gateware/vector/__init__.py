"""The vector unit's kernels as pipelines: an element per edge, a fixed latency, equal to ``hw.token`` bit for bit."""
