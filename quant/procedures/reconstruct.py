"""Block reconstruction: latent weights and scales of a block, or a few in a row, are trained towards float outputs.

Ref: PT-BitNet's abstract, "we optimize the weight elements in a block-wise manner" (a reconstruction, see
``quant.methods.pt_bitnet``); the form is that of OmniQuant (arXiv 2308.13137, section 3.1) and EfficientQAT's
Block-AP (arXiv 2407.11062, section 3.2), of several blocks at once that of CBQ (arXiv 2312.07950, section 3.2).
Inputs come from the quantized prefix, targets from the full-precision one; the error of each token counts relative to
the token's own size, because a few tokens carry activations a thousand times the others.
"""

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor

from hw.division import ceil_divide
from hw.errors import InputError
from quant.procedures.latent import BlockFunction, BlockTensors
from quant.procedures.shared.shards import WHOLE, Shards, flat_gradients, shared_loss

__all__ = [
    "TrainingPlan",
    "advance",
    "by_rate",
    "hardness",
    "learning_rate",
    "mixed_precision",
    "reconstruct",
    "relative_error",
    "run_in_place",
    "trainer",
]

_TOKENS_PER_PASS = 16384
_WARMUP = 0.05  # share of all steps
_CLIP = 1.0  # largest gradient norm
_BETAS = (0.9, 0.95)
_SCALE_RATE, _NORM_RATE = 0.05, 0.05  # learning rates relative to that of the dimensionless latent weights


class TrainingPlan(NamedTuple):
    """How long and how fast: ``epochs``, or ``block_steps`` of a reconstruction instead.

    ``rate`` is the peak learning rate of latent weights, in units of their codes. ``soften``: the first share of the
    steps, in which weights go from clamped latent ones to their codes; ``range_penalty``: weight of activation ranges
    in the loss; ``table_rate``: peak learning rate of latent codes of embedding and head, where they are in digits.
    Both in distillation alone.
    """

    epochs: int
    rate: float
    tokens_per_step: int
    seed: int
    soften: float = 0.0
    range_penalty: float = 0.0
    table_rate: float = 0.004
    block_steps: int | None = None


def learning_rate(step: int, steps: int) -> float:
    """Share of the peak rate: linear warm-up, then a cosine down to zero."""
    warmup = max(1, round(_WARMUP * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def hardness(step: int, steps: int, soften: float) -> float:
    """How far weights stand on the way to their codes: 0 to 1 over the first share ``soften`` of the steps, then 1."""
    return min(1.0, step / (soften * steps)) if soften else 1.0


def mixed_precision(device: torch.device) -> AbstractContextManager:
    """bfloat16 matrix products on a GPU; float32 elsewhere."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda")


@torch.no_grad()
def run_in_place(function: BlockFunction, hidden: Tensor, tables: tuple[Tensor, Tensor], tensors: BlockTensors) -> None:
    """One block over all windows, a few at a time; its outputs take the place of its inputs ``hidden``."""
    with mixed_precision(hidden.device):
        for part in hidden.split(max(1, _TOKENS_PER_PASS // hidden.shape[1])):
            part.copy_(function(part, *tables, tensors))


def trainer(
    blocks: list[BlockTensors],
    extra_norms: list[Tensor],
    rate: float,
    steps: int,
    tables: Sequence[dict[str, object]] = (),
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
    """Adam over the latent weights, scales, norms and ``tables``, each with its own rate, and the schedule of all.

    ``tables``: parameter groups of what trains of embedding and head, and of float weights.
    """
    latents, scales, norms = ([t for block in blocks for t in block.trained()[part]] for part in range(3))
    groups = [
        {"params": latents, "lr": rate},
        {"params": scales, "lr": rate * _SCALE_RATE},
        {"params": [*norms, *extra_norms], "lr": rate * _NORM_RATE},
        *tables,
    ]
    groups = [group for group in groups if group["params"]]
    for tensor in (tensor for group in groups for tensor in group["params"]):
        tensor.requires_grad_(True)
    gpu = norms[0].device.type == "cuda"
    if gpu:  # on the device, where a recorded step reads them
        groups = [group | {"lr": torch.tensor(group["lr"], device=norms[0].device)} for group in groups]
    optimizer = torch.optim.Adam(groups, betas=_BETAS, fused=gpu, capturable=gpu)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: learning_rate(step, steps))


def reconstruct(
    function: BlockFunction,
    tables: tuple[Tensor, Tensor],
    window: list[BlockTensors],
    inputs: Tensor,
    targets: Tensor,
    plan: TrainingPlan,
    where: str,
    shards: Shards = WHOLE,
) -> float:
    """Train the consecutive blocks of ``window`` in place; the mean relative error of the last epoch.

    ``inputs`` of the first and ``targets`` of the last: ``(windows, length, hidden)``.

    Raises:
        InputError: a loss that is not finite, with the block's name and the remedy.
    """
    windows, length = inputs.shape[:2]
    batch = max(1, min(windows, plan.tokens_per_step // length))
    per_epoch = windows // batch
    steps = plan.epochs * per_epoch if plan.block_steps is None else plan.block_steps
    optimizer, schedule = trainer(window, [], plan.rate, steps)
    generator = torch.Generator().manual_seed(plan.seed)
    error, hard = (torch.zeros((), device=inputs.device) for _ in range(2))
    student = [tensors.soften(hard) for tensors in window] if plan.soften else window
    parameters = [tensor for group in optimizer.param_groups for tensor in group["params"]]

    def train(chosen: Tensor) -> Tensor:
        output = inputs[chosen]
        with mixed_precision(inputs.device):
            for tensors in student:
                output = function(output, *tables, tensors)
        loss = _relative_error(output, targets[chosen]) * (len(chosen) / batch)
        loss.backward()
        return loss.detach()

    def train_part(chosen: Tensor) -> Tensor:
        return flat_gradients(parameters, train(chosen))

    for epoch in range(ceil_divide(steps, per_epoch)):
        error.zero_()
        order = torch.randperm(windows, generator=generator)[: per_epoch * batch].view(per_epoch, batch)
        order = order[: steps - epoch * per_epoch]
        for step, chosen in enumerate(order.to(inputs.device), epoch * per_epoch):
            hard.fill_(hardness(step, steps, plan.soften))
            whole = shards.count == 1
            loss = train(chosen) if whole else shared_loss(shards, parameters, [chosen], train_part)
            advance(optimizer)
            schedule.step()
            error += loss
        if not torch.isfinite(error):
            raise InputError(
                f"{where}: the reconstruction error must be finite, not {error.item()}; lower the option 'block_rate'"
            )
    for tensor in (t for tensors in window for part in tensors.trained() for t in part):
        tensor.requires_grad_(False)
    return (error / len(order)).item()


@torch.no_grad()
def relative_error(
    function: BlockFunction, tables: tuple[Tensor, Tensor], inputs: Tensor, targets: Tensor, window: list[BlockTensors]
) -> float:
    """What ``reconstruct`` lowers, of the blocks as they stand, on other windows."""
    states = inputs.clone()
    for tensors in window:
        run_in_place(function, states, tables, tensors)
    return _relative_error(states, targets).item()


def _relative_error(output: Tensor, wanted: Tensor) -> Tensor:
    """Mean over tokens of the squared error relative to the token's own size."""
    return ((output - wanted).square().sum(-1) / wanted.square().sum(-1).clamp_min(1e-6)).mean()


def by_rate(learned: Sequence[tuple[Tensor, float]]) -> list[dict[str, object]]:
    """Parameter groups of an optimizer, one for each learning rate, so that a GPU takes all their steps at once."""
    rates = dict.fromkeys(rate for _, rate in learned)
    return [{"params": [tensor for tensor, one in learned if one == rate], "lr": rate} for rate in rates]


def advance(optimizer: torch.optim.Optimizer) -> None:
    """One step along the gradients, each parameter group's norm clipped, which are then dropped."""
    for group in optimizer.param_groups:
        torch.nn.utils.clip_grad_norm_(group["params"], _CLIP)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
