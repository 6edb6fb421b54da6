"""Numba kernels: edges and tiles of the array, DRAM, the vector unit's lanes."""
