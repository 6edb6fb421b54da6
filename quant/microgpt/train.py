"""Straight-through training of microGPT on first names, the same for the same seed on one kind of processor."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from hw.progress import StageReport
from quant.microgpt.model import initial, logits
from quant.microgpt.names import VOCABULARY, name_rows
from quant.microgpt.sizes import CONTEXT
from quant.microgpt.training import Training

__all__ = ["Trained", "train"]

_KEPT_BACK = 10  # every tenth name is measured on, not trained on
_WARM_UP = 0.05  # share of the steps in which the rate rises
_BETAS = (0.9, 0.99)


class Trained(NamedTuple):
    """Parameters by name; losses in nats per letter on names that were not trained on."""

    parameters: dict[str, Tensor]
    loss: float
    names: int  # trained on
    kept_back: int

    @property
    def count(self) -> int:
        """Parameters."""
        return sum(parameter.numel() for parameter in self.parameters.values())


def train(names: tuple[str, ...], job: Training, report: StageReport, is_ternary: bool = True) -> Trained:
    """Train on nine names of ten, and measure on the tenth; one thread, so that sums have one order."""
    rows = name_rows(names, CONTEXT)
    order = np.random.default_rng(job.seed).permutation(len(names))
    kept = order[: max(1, len(names) // _KEPT_BACK)]
    inputs, targets = (torch.from_numpy(part[order[len(kept) :]]) for part in rows)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        parameters = initial(job.seed)
        optimizer = torch.optim.AdamW(parameters.values(), lr=job.rate, betas=_BETAS, weight_decay=0.0)
        generator = torch.Generator().manual_seed(job.seed)
        warm_up = max(1, int(_WARM_UP * job.steps))
        for step in range(job.steps):
            rate = job.rate * min((step + 1) / warm_up, 1.0) * (1 - step / job.steps)
            for group in optimizer.param_groups:
                group["lr"] = rate
            drawn = torch.randint(0, len(inputs), (job.batch,), generator=generator)
            loss = _loss(logits(parameters, inputs[drawn], is_ternary), targets[drawn])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            report("training", step + 1, job.steps)
        with torch.no_grad():
            others = [torch.from_numpy(part[kept]) for part in rows]
            measured = float(_loss(logits(parameters, others[0], is_ternary), others[1]))
    finally:
        torch.set_num_threads(threads)
    held = {name: parameter.detach() for name, parameter in parameters.items()}
    return Trained(held, measured, len(inputs), len(kept))


def _loss(given: Tensor, targets: Tensor) -> Tensor:
    return cross_entropy(given.reshape(-1, VOCABULARY), targets.reshape(-1), ignore_index=-100)
