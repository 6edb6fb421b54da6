"""Distillation: the whole ternary model learns the full-precision model's next-token distributions.

Ref: Hinton et al., arXiv 1503.02531 (soft targets); Liu et al., LLM-QAT, arXiv 2305.17888, section 3.1 (text that the
model generates itself). No text beyond the calibration slice is used: the rest the full-precision model writes, from
short prompts cut out of that slice.
"""

import copy
import logging
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from transformers import PreTrainedModel

from hw.errors import InputError
from quant.latent import BlockFunction, BlockTensors, block_function, rotary_tables
from quant.llama import embed
from quant.reconstruct import TrainingPlan, advance, mixed_precision, trainer

__all__ = ["distill", "generate_windows"]

_PROMPT_TOKENS = 48  # longest prompt; its length is uniform from 1
_TEMPERATURE = 0.95
_BATCH = 3072  # windows generated side by side on a GPU
_LOG_STEPS = 100

_log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]


@torch.no_grad()
def generate_windows(
    model: PreTrainedModel, windows: Tensor, count: int, length: int, seed: int, progress: Progress
) -> Tensor:
    """Text that the model samples: int64 ``(count, length)``; every row starts with 1 to 48 tokens of the slice.

    ``windows``: calibration tokens, int64 ``(windows, any length)``.
    """
    device = next(model.parameters()).device
    if device.type == "cuda":
        model = copy.deepcopy(model).to(torch.bfloat16)
    generator = torch.Generator(device=device).manual_seed(seed)
    batch = _BATCH if device.type == "cuda" else 16
    slice_ = windows.flatten().to(device)
    rows = []
    for start in range(0, count, batch):
        size = min(batch, count - start)
        begin = torch.randint(len(slice_) - _PROMPT_TOKENS, (size, 1), device=device, generator=generator)
        prompt = slice_[begin + torch.arange(_PROMPT_TOKENS, device=device)]
        kept = torch.randint(1, _PROMPT_TOKENS + 1, (size,), device=device, generator=generator)
        rows.append(_sample(model, prompt, kept, length, generator))
        progress(start + size, count)
    return torch.cat(rows)


def _sample(model: PreTrainedModel, prompt: Tensor, kept: Tensor, length: int, generator: torch.Generator) -> Tensor:
    """Continue row r after its first ``kept[r]`` prompt tokens."""
    tokens, cache, row = [prompt[:, 0]], None, prompt[:, 0]
    for position in range(1, length):
        output = model(row[:, None], past_key_values=cache, use_cache=True)
        cache = output.past_key_values
        chances = (output.logits[:, -1].float() / _TEMPERATURE).softmax(-1)
        row = torch.multinomial(chances, 1, generator=generator)[:, 0]
        if position < prompt.shape[1]:
            row = torch.where(position < kept, prompt[:, position], row)
        tokens.append(row)
    return torch.stack(tokens, 1)


def distill(
    model: PreTrainedModel,
    teacher: list[BlockTensors],
    student: list[BlockTensors],
    student_norm: Tensor,
    real: Tensor,
    generated: Tensor,
    steps: int,
    real_share: float,
    plan: TrainingPlan,
    progress: Progress,
) -> float:
    """Train ``student`` and ``student_norm`` in place; the mean loss of the last tenth of the steps.

    ``model`` gives embedding, head, final norm and rotary tables; ``real`` and ``generated``: int64 ``(windows,
    length)``; each step takes ``real_share`` of its windows from the calibration text. Loss: KL(teacher || student) of
    every token.

    Raises:
        InputError: a loss that is not finite, with the step and the remedy.
    """
    device = real.device
    length = real.shape[1]
    compiled = device.type == "cuda"
    teach, learn = (block_function(model, int8, compiled) for int8 in (False, True))
    divergence = torch.compile(_divergence, dynamic=False) if compiled else _divergence
    tables = rotary_tables(model, length)
    optimizer, schedule = trainer(student, [student_norm], plan.rate, steps)
    batch = max(1, plan.tokens_per_step // length)
    real_rows = batch if not len(generated) else max(1, round(real_share * batch))
    generator = torch.Generator().manual_seed(plan.seed)
    streams = [_endless(real, generator), _endless(generated, generator)]
    counts = (real_rows, batch - real_rows)
    head, gain, eps = model.lm_head.weight, model.model.norm.weight, model.config.rms_norm_eps
    last, losses = max(1, steps // 10), torch.zeros((), device=device)
    for step in range(steps):
        rows = [next(stream) for stream, count in zip(streams, counts, strict=True) for _ in range(count)]
        hidden = embed(model, torch.stack(rows))
        with mixed_precision(device):
            with torch.no_grad():
                wanted = _through(teach, teacher, hidden, tables)
            loss = divergence(wanted, _through(learn, student, hidden, tables), gain, student_norm, head, eps)
        loss.backward()
        advance(optimizer, schedule)
        if step >= steps - last:
            losses += loss.detach()
        if step % _LOG_STEPS == 0 or step == steps - 1:
            if not torch.isfinite(loss):
                raise InputError(f"distillation: loss of step {step} must be finite; lower the option 'distill_rate'")
            _log.info("distillation step %d of %d: loss %.4f", step, steps, loss.item())
        progress(step + 1, steps)
    return (losses / last).item()


def _through(
    function: BlockFunction, blocks_tensors: list[BlockTensors], hidden: Tensor, tables: tuple[Tensor, Tensor]
) -> Tensor:
    """Hidden states after all blocks."""
    for tensors in blocks_tensors:
        hidden = function(hidden, *tables, tensors)
    return hidden


def _divergence(wanted: Tensor, hidden: Tensor, gain: Tensor, norm: Tensor, head: Tensor, eps: float) -> Tensor:
    """Mean over tokens of KL(teacher || student), in nats."""

    def log_chances(x: Tensor, weight: Tensor) -> Tensor:
        x = x.float()
        normed = weight * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps))
        return torch.nn.functional.linear(normed, head).float().log_softmax(-1)

    target = log_chances(wanted, gain)
    return (target.exp() * (target - log_chances(hidden, norm))).sum(-1).mean()


def _endless(windows: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows in random order, again and again."""
    while True:
        for index in torch.randperm(len(windows), generator=generator).tolist():
            yield windows[index]
