"""Small linears with correlated inputs for the solvers' tests, and the error that they are judged by."""

import torch

__all__ = ["absmean", "output_error", "problem"]


def problem(n=12, k=72, tokens=400, seed=0, dead=()):
    """Heavy-tailed weights (n, k), correlated inputs (tokens, k) with a few loud channels, and ``X^T X``."""
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(n, k, generator=generator) * torch.rand(1, k, generator=generator).add(0.3) * 0.05
    mixing = torch.randn(k, k, generator=generator) / k**0.5 + torch.eye(k)
    inputs = torch.randn(tokens, k, generator=generator) @ mixing
    inputs[:, :3] *= 8
    inputs[:, list(dead)] = 0
    return weight, inputs, inputs.T @ inputs


def output_error(inputs, weight, approximation):
    """``||X (W - V)^T||`` relative to ``||X W^T||``."""
    return ((inputs @ (weight - approximation).T).norm() / (inputs @ weight.T).norm()).item()


def absmean(weight, group):
    """BitNet's rounding with one mean magnitude per group: the baseline that every solver must beat."""
    parts = []
    for part in weight.split(group, dim=1):
        scale = part.abs().mean(1, keepdim=True)
        parts.append(scale * (part / scale).round().clamp(-1, 1))
    return torch.cat(parts, 1)
