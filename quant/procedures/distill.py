"""Distillation: the whole ternary model learns the full-precision model's next-token distributions.

Ref: Hinton et al., arXiv 1503.02531 (soft targets); Liu et al., LLM-QAT, arXiv 2305.17888, section 3.1 (text that the
model generates itself). No text beyond the calibration slice is used: the rest the full-precision model writes, from
short prompts cut out of that slice.

Where only scales and norms train, a model of 7 B parameters fits one GPU: a step goes through the model a few windows
at a time, each block keeps its input alone and runs again in the backward pass (Chen et al., arXiv 1604.06174), and
the logits of a few hundred tokens exist at once.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from hw.errors import InputError
from hw.progress import CountReport
from quant.llama.blocks import embed
from quant.procedures.latent import BlockFunction, BlockTensors, LatentWeight, block_function, rotary_tables
from quant.procedures.reconstruct import TrainingPlan, advance, hardness, mixed_precision, trainer
from quant.procedures.recorded_step import RecordedStep
from quant.procedures.shared.shards import WHOLE, Shards, flat_gradients, shared_loss
from quant.procedures.stopwatch import stage
from quant.procedures.student.tables import Tables

__all__ = ["Corpus", "distill", "divergence"]

_LOG_STEPS = 100
_TOKENS_PER_PASS = 8192  # through the model at a time where codes are frozen
_TOKENS_OF_LOGITS = 1024

_log = logging.getLogger(__name__)


class Corpus(NamedTuple):
    """Windows to learn from, int64 ``(windows, length)`` each: calibration text, and text that the model wrote.

    ``real_share``: of each step's windows that are calibration text; all where nothing was generated.
    """

    real: Tensor
    generated: Tensor
    real_share: float

    def batches(self, rows: int, seed: int) -> Iterator[Tensor]:
        """Batches of ``rows`` windows in random order, again and again: int64 ``(rows, length)``."""
        real_rows = rows if not len(self.generated) else max(1, round(self.real_share * rows))
        generator = torch.Generator().manual_seed(seed)
        streams = [_endless(self.real, generator), _endless(self.generated, generator)]
        while True:
            counts = zip(streams, (real_rows, rows - real_rows), strict=True)
            yield torch.stack([next(stream) for stream, count in counts for _ in range(count)])


def distill(
    model: PreTrainedModel,
    teacher: list[BlockTensors],
    student: list[BlockTensors],
    student_norm: Tensor,
    corpus: Corpus,
    steps: int,
    plan: TrainingPlan,
    progress: CountReport,
    student_tables: Tables | None = None,
    int8: bool = True,
    body: Sequence[dict[str, object]] = (),
    shards: Shards = WHOLE,
) -> float:
    """Train what is the student's in place; the mean loss of the last tenth of the steps.

    ``model`` gives the teacher's embedding, head and final norm, the student's too where ``student_tables`` has none of
    its own, and the rotary tables. Latent weights train with scales and norms; where all codes of the student are
    frozen, in the little memory that the module describes. Float weights of the student stay as they are, unless they
    are in ``body``, parameter groups of an optimizer. ``int8``: whether the student's linears see int8 activations.
    Loss: KL(teacher || student) of every token; ``plan.range_penalty`` adds to it that many times the mean over blocks
    of the ranges of ``quant.procedures.latent.block_function``. ``shards``: of each step's windows.

    Raises:
        InputError: a loss that is not finite, with the step and the remedy.
    """
    device, length = corpus.real.device, corpus.real.shape[1]
    frozen = all(isinstance(one, LatentWeight) and one.frozen for block in student for one in block.weights)
    compiled = device.type == "cuda"
    teach = block_function(model, False, compiled)
    learn = block_function(model, int8, compiled, ranges=plan.range_penalty > 0)
    tables = rotary_tables(model, length)
    own = student_tables or Tables(None, None)
    groups = [*own.groups(plan.rate, plan.table_rate), *body]
    optimizer, schedule = trainer(student, [student_norm], plan.rate, steps, groups)
    mean_divergence = _Divergence(model, student_norm, frozen)
    batch = max(1, plan.tokens_per_step // length)
    rows_per_pass = max(1, _TOKENS_PER_PASS // length) if frozen else batch
    losses, hard = (torch.zeros((), device=device) for _ in range(2))
    softened = [block.soften(hard) for block in student] if plan.soften else student

    parameters = [tensor for group in optimizer.param_groups for tensor in group["params"]]

    def train(rows: Tensor, hidden: Tensor) -> Tensor:
        loss = torch.zeros((), device=device)
        for tokens, seen in zip(rows.split(rows_per_pass), hidden.split(rows_per_pass), strict=True):
            embedding, head = own.dense(hard if plan.soften else None)
            start = seen if embedding is None else nn.functional.embedding(tokens, embedding)
            with mixed_precision(device):
                with torch.no_grad():
                    teacher_states, _ = _through(teach, teacher, seen, tables, False)
                student_states, ranges = _through(learn, softened, start, tables, frozen)
                part = mean_divergence(teacher_states, student_states, head) + plan.range_penalty * ranges
            part = part * (len(tokens) / batch)
            part.backward()
            loss += part.detach()
        return loss

    def train_whole(rows: Tensor, hidden: Tensor) -> Tensor:
        loss = train(rows, hidden)
        advance(optimizer)
        return loss

    def train_part(rows: Tensor, hidden: Tensor) -> Tensor:
        return flat_gradients(parameters, train(rows, hidden))

    recorded = RecordedStep(train_whole if shards.count == 1 else train_part, recorded=compiled and not frozen)

    def train_once(rows: Tensor, hidden: Tensor) -> Tensor:
        if shards.count == 1:
            return recorded(rows, hidden)
        loss = shared_loss(shards, parameters, [rows, hidden], recorded)
        advance(optimizer)
        return loss

    last = max(1, steps // 10)
    for step, rows in zip(range(steps), corpus.batches(batch, plan.seed), strict=False):
        with stage("distill step", step):
            hard.fill_(hardness(step, steps, plan.soften))
            with torch.no_grad():
                hidden = embed(model, rows)
            loss = train_once(rows, hidden)
            schedule.step()
        if step >= steps - last:
            losses += loss
        if step % _LOG_STEPS == 0 or step == steps - 1:
            if not torch.isfinite(loss):
                raise InputError(f"distillation: loss of step {step} must be finite; lower the option 'distill_rate'")
            _log.info("distillation step %d of %d: loss %.4f", step, steps, loss.item())
        progress(step + 1, steps)
    for tensor in (tensor for group in optimizer.param_groups for tensor in group["params"]):
        tensor.requires_grad_(False)
    return (losses / last).item()


@torch.no_grad()
def divergence(
    model: PreTrainedModel,
    teacher: list[BlockTensors],
    student: list[BlockTensors],
    student_norm: Tensor,
    windows: Tensor,
    student_tables: Tables | None = None,
) -> float:
    """Mean over tokens of KL(teacher || student), in nats, int8 activations in the student; as ``distill`` lowers it.

    ``windows``: tokens on the model's device, int64 ``(windows, length)``.
    """
    compiled = windows.device.type == "cuda"
    teach, learn = (block_function(model, int8, compiled) for int8 in (False, True))
    tables, own = rotary_tables(model, windows.shape[1]), student_tables or Tables(None, None)
    embedding, head = own.dense()
    mean, total = _Divergence(model, student_norm, in_chunks=True), 0.0
    for tokens in windows.split(1):
        seen = embed(model, tokens)
        start = seen if embedding is None else nn.functional.embedding(tokens, embedding)
        with mixed_precision(windows.device):
            (teacher_states, _), (student_states, _) = (
                _through(function, blocks_tensors, hidden, tables, False)
                for function, blocks_tensors, hidden in ((teach, teacher, seen), (learn, student, start))
            )
            total += mean(teacher_states, student_states, head).item()
    return total / len(windows)


def _through(
    function: BlockFunction,
    blocks_tensors: list[BlockTensors],
    hidden: Tensor,
    tables: tuple[Tensor, Tensor],
    again: bool,
) -> tuple[Tensor, Tensor | float]:
    """Hidden states after all blocks, and the mean of their ranges where ``function`` finds them, else 0.

    ``again``: run each block again in the backward pass, to keep its input alone.
    """
    ranges = []
    for tensors in blocks_tensors:
        if again:
            hidden = checkpoint(function, hidden, *tables, tensors, use_reentrant=False, preserve_rng_state=False)
        else:
            hidden = function(hidden, *tables, tensors)
        if isinstance(hidden, tuple):
            hidden, found = hidden
            ranges.append(found)
    return hidden, torch.stack(ranges).mean() if ranges else 0.0


class _Divergence:
    """Mean over tokens of KL(teacher || student), in nats, from the last blocks' outputs ``(..., hidden)``.

    The student's head is the model's where none is given.
    """

    def __init__(self, model: PreTrainedModel, student_norm: Tensor, in_chunks: bool) -> None:
        head = model.lm_head.weight
        self._teacher, self._student_norm = (model.model.norm.weight, head), student_norm
        self._eps, self._in_chunks = model.config.rms_norm_eps, in_chunks
        compiled = head.device.type == "cuda"
        self._mean: Callable[..., Tensor] = torch.compile(_divergence, dynamic=False) if compiled else _divergence

    def __call__(self, teacher_states: Tensor, student_states: Tensor, head: Tensor | None) -> Tensor:
        student_head = self._teacher[1] if head is None else head
        arguments = (*self._teacher, self._student_norm, student_head, self._eps)
        if not self._in_chunks:
            return self._mean(teacher_states, student_states, *arguments)
        pieces = [states.flatten(0, -2).split(_TOKENS_OF_LOGITS) for states in (teacher_states, student_states)]
        total = torch.zeros((), device=student_states.device)
        for teacher, student in zip(*pieces, strict=True):
            mean = checkpoint(self._mean, teacher, student, *arguments, use_reentrant=False, preserve_rng_state=False)
            total = total + mean * len(student)
        return total / student_states[..., 0].numel()


def _divergence(
    teacher_states: Tensor,
    student_states: Tensor,
    teacher_gain: Tensor,
    teacher_head: Tensor,
    student_gain: Tensor,
    student_head: Tensor,
    eps: float,
) -> Tensor:
    def log_chances(x: Tensor, gain: Tensor, head: Tensor) -> Tensor:
        x = x.float()
        normed = gain * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + eps))
        return torch.nn.functional.linear(normed, head).float().log_softmax(-1)

    target = log_chances(teacher_states, teacher_gain, teacher_head)
    return (target.exp() * (target - log_chances(student_states, student_gain, student_head))).sum(-1).mean()


def _endless(windows: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows in random order, again and again."""
    while True:
        for index in torch.randperm(len(windows), generator=generator).tolist():
            yield windows[index]
