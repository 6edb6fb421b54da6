"""The windows of every training step."""

from collections.abc import Iterator

import torch

__all__ = ["batches"]


def batches(windows: int, size: int, epochs: int, seed: int) -> Iterator[list[int]]:
    """Windows of each step, in random order within an epoch; a rest that is no whole step waits for the next epoch."""
    generator = torch.Generator().manual_seed(seed)
    for _ in range(epochs):
        order = torch.randperm(windows, generator=generator).tolist()
        for first in range(0, windows - size + 1, size):
            yield order[first : first + size]
