"""Healing: a model with a cut vocabulary learns the full one's next-token distributions, piece by piece.

Both read the same text, each in its own tokens (``quant.vocabulary.cut.aligned``). Where a token of the full vocabulary
ends, the target is the teacher's distribution summed over the tokens that begin with the same piece; inside a token it
is the piece that follows. Embedding, head, norms, and by ``body_rate`` the linears train, all of them float.
"""

import logging
from typing import NamedTuple

import torch
from torch import Tensor, nn

from hw.errors import InputError
from hw.progress import CountReport
from quant.llama.blocks import LoadedModel, embed
from quant.procedures.distill import Corpus
from quant.procedures.latent import BlockTensors, block_function, rms_norm, rotary_tables
from quant.procedures.reconstruct import advance, mixed_precision, trainer
from quant.procedures.recorded_step import RecordedStep
from quant.procedures.student.tables import Tables
from quant.vocabulary.cut.aligned import AlignedWindows, cut_chances
from quant.vocabulary.job import VocabularyJob
from quant.vocabulary.student import body_groups

__all__ = ["Student", "heal", "piece_loss"]

_LOG_STEPS = 100
_NORM_SHARE = 0.05  # of a trainer's rate, the norms' (quant.procedures.reconstruct)

_log = logging.getLogger(__name__)


class Student(NamedTuple):
    """All of a model that trains; ``tables`` float, of the cut vocabulary."""

    blocks: list[BlockTensors]
    norm: Tensor
    tables: Tables


def heal(
    loaded: LoadedModel,
    teacher: list[BlockTensors],
    student: Student,
    texts: tuple[AlignedWindows, AlignedWindows | None],
    first: Tensor,
    job: VocabularyJob,
    progress: CountReport,
) -> float:
    """Train ``student`` in place; the mean loss of the last tenth of the steps, in nats per piece.

    ``texts``: calibration text and what the model wrote, if it did, on the model's device; ``first``: see
    ``quant.vocabulary.cut.aligned.first_pieces``.

    Raises:
        InputError: a loss that is not finite, with the step and the remedy.
    """
    model, real = loaded.model, _joined(texts[0])
    device, length = real.device, real.shape[1] // 3
    function = block_function(model, False, device.type == "cuda")
    rotary, rate = rotary_tables(model, length), job.norm_rate / _NORM_SHARE
    groups = student.tables.groups(rate, rate)
    if job.trains_body:
        groups += body_groups(student.blocks, job.body_rate)
    optimizer, schedule = trainer(student.blocks, [student.norm], rate, job.steps, groups)
    corpus = Corpus(real, real[:0] if texts[1] is None else _joined(texts[1]), job.real_share)
    teacher_end = (model.model.norm.weight, model.lm_head.weight)

    def train(rows: Tensor, seen: Tensor) -> Tensor:
        windows = AlignedWindows(*rows.split(length, 1))
        embedding, head = student.tables.dense()
        with mixed_precision(device):
            with torch.no_grad():
                taught = seen
                for tensors in teacher:
                    taught = function(taught, *rotary, tensors)
            learned = nn.functional.embedding(windows.pieces, embedding)
            for tensors in student.blocks:
                learned = function(learned, *rotary, tensors)
            ends = (teacher_end, (student.norm, head))
            loss = piece_loss(taught, learned, windows, first, ends, model.config.rms_norm_eps)
        loss.backward()
        advance(optimizer)
        return loss.detach()

    train_once = RecordedStep(train, recorded=device.type == "cuda")
    last, losses = max(1, job.steps // 10), torch.zeros((), device=device)
    batch = max(1, job.tokens_per_step // length)
    for step, rows in zip(range(job.steps), corpus.batches(batch, job.seed), strict=False):
        with torch.no_grad():
            seen = embed(model, rows[:, length : 2 * length])
        loss = train_once(rows, seen)
        schedule.step()
        if step >= job.steps - last:
            losses += loss
        if step % _LOG_STEPS == 0 or step == job.steps - 1:
            if not torch.isfinite(loss):
                raise InputError(f"healing: loss of step {step} must be finite; lower --norm-rate or --body-rate")
            _log.info("healing step %d of %d: loss %.4f", step, job.steps, loss.item())
        progress(step + 1, job.steps)
    for tensor in (tensor for group in optimizer.param_groups for tensor in group["params"]):
        tensor.requires_grad_(False)
    return (losses / last).item()


def piece_loss(
    taught: Tensor,
    learned: Tensor,
    windows: AlignedWindows,
    first: Tensor,
    ends: tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]],
    eps: float,
) -> Tensor:
    """Mean over pieces of KL(target || student), in nats; last blocks' outputs ``(windows, length, hidden)`` each.

    ``ends``: gain of the last norm, and head, of the teacher and of the student.
    """
    place = windows.ends[:, :-1]
    found = taught.gather(1, place.clamp_min(0)[..., None].expand(-1, -1, taught.shape[-1])).flatten(0, 1)
    (teacher_gain, teacher_head), (gain, head) = ends
    with torch.no_grad():
        chances = nn.functional.linear(rms_norm(found, teacher_gain, eps), teacher_head).float().softmax(-1)
        target = cut_chances(chances, first, len(head))
        inside = (place < 0).flatten()[:, None]
        following = windows.pieces[:, 1:].flatten()[:, None]
        target = target.masked_fill(inside, 0).scatter_add(1, following, inside.to(target.dtype))
    logits = nn.functional.linear(rms_norm(learned[:, :-1].flatten(0, 1), gain, eps), head)
    return (torch.xlogy(target, target) - target * logits.float().log_softmax(-1)).sum(-1).mean()


def _joined(windows: AlignedWindows) -> Tensor:
    """One row for each window: its pieces, its tokens, its ends."""
    return torch.cat(windows, 1)
