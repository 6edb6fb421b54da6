"""Methods whose linears learn together, from how well the model predicts the next tokens of the calibration text.

The loss is the cross-entropy of all windows' next tokens; embedding, head and norms stay. Each block keeps its input
alone and runs again in the backward pass (Chen et al., arXiv 1604.06174).
"""

import logging
import math
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from hw.artifact import atomic_path
from hw.errors import InputError
from hw.progress import CountReport
from quant.llama.blocks import LoadedModel, block_linears, blocks, embed, norm_weights
from quant.llama.rotation import rotate
from quant.methods.method import LearnedWeight, TunedOptions
from quant.procedures.batches import batches
from quant.procedures.latent import (
    BlockFunction,
    BlockTensors,
    block_function,
    block_tensors,
    check_blocks,
    rotary_tables,
)
from quant.procedures.reconstruct import by_rate, mixed_precision
from quant.procedures.stopwatch import stage
from quant.procedures.tuned.rotation_sites import Sites, site_errors
from quant.procedures.work import Work, Written
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import write_checkpoint

__all__ = ["rotated_sites", "tune", "tune_model"]

_TOKENS_PER_PASS = 8192
_CLIP = 1.0  # largest norm of a gradient
_SNAPSHOTS = 10  # of a whole tuning, from which a killed one goes on

_log = logging.getLogger(__name__)


def tune_model(work: Work) -> Written:
    """Quantize all blocks, after rotating the model where the options say so; the model's linears stay as they are.

    A later call goes on from the last snapshot, to the same bits.

    Raises:
        InputError: what the method refuses, with the linear's name, or a loss that is not finite.
    """
    model, options = work.loaded.model, work.options
    check_blocks(work.loaded, work.windows.shape[1])
    windows = work.windows.to(next(model.parameters()).device)
    norms, tables = _rotated(work, windows)
    student = _start(work)
    trained = [pair for block in student for weight in block.weights for pair in weight.learned(options.rate)]
    progress = partial(work.progress, "tune")
    tune(work.loaded, student, trained, windows, options, work.seed, progress, work.parts / "tuning.pt")
    written = []
    for layer, tensors in enumerate(student):
        solved = zip(LINEAR_KINDS, tensors.weights, strict=True)
        written.append(work.parts / f"{layer}.safetensors")
        write_checkpoint(written[-1], {(layer, kind): weight.solution() for kind, weight in solved})
    return Written(written, norms, tables)


def tune(
    loaded: LoadedModel,
    student: list[BlockTensors],
    trained: list[tuple[Tensor, float]],
    windows: Tensor,
    options: TunedOptions,
    seed: int,
    progress: CountReport,
    snapshot: Path,
) -> float:
    """Train the tensors of ``trained``, each at its peak rate, in place; the mean loss of the last step, in nats.

    ``windows``: int64 ``(count, length)`` on the model's device; ``snapshot``: file from which a killed call goes on.

    Raises:
        InputError: a loss that is not finite.
    """
    model = loaded.model
    device, length = windows.device, windows.shape[1]
    function = block_function(model, options.int8_calibration, device.type == "cuda")
    head = _Loss(model.model.norm.weight, model.lm_head.weight, model.config.rms_norm_eps)
    tables = rotary_tables(model, length)
    batch = max(1, min(len(windows), options.tokens_per_step // length))
    steps = options.epochs * (len(windows) // batch)
    for tensor, _ in trained:
        tensor.requires_grad_(True)
    optimizer = torch.optim.AdamW(by_rate(trained), weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share_of_rate(step, steps, options))
    done, loss = _take_up(snapshot, trained, optimizer, schedule), 0.0
    for step, chosen in enumerate(batches(len(windows), batch, options.epochs, seed)):
        if step < done:
            continue
        with stage("tune step", step):
            loss = _step(model, student, windows[chosen], function, tables, head)
            torch.nn.utils.clip_grad_norm_([tensor for tensor, _ in trained], _CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad(set_to_none=True)
        if not math.isfinite(loss):
            raise InputError(f"tuning: loss of step {step} must be finite, not {loss}; lower the option 'rate'")
        _log.info("tuning step %d of %d: loss %.4f", step, steps, loss)
        progress(step + 1, steps)
        if (step + 1) % max(1, steps // _SNAPSHOTS) == 0:
            _keep(snapshot, step + 1, trained, optimizer, schedule)
    for tensor, _ in trained:
        tensor.requires_grad_(False)
    return loss


def share_of_rate(step: int, steps: int, options: TunedOptions) -> float:
    """Of the peak rate: a linear warm-up, then a fall to zero, linear or by a cosine."""
    warmup = round(options.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    past = (step - warmup) / max(1, steps - warmup)
    return 1 - past if options.decay == "linear" else 0.5 * (1 + math.cos(math.pi * past))


def rotated_sites(work: Work, windows: Tensor) -> tuple[bool, list[int]]:
    """Whether the stream is rotated, and the layers whose values are, as the options say.

    Biases behind a rotation would have to turn as well and are no part of a checkpoint: their sites are left out.
    """
    options, layers = work.options, blocks(work.loaded.model)
    biased = [{linear.kind for linear in block_linears(block, 0) if linear.module.bias is not None} for block in layers]
    stream_free = not any(kinds & {"o_proj", "down_proj"} for kinds in biased)
    free = [layer for layer, kinds in enumerate(biased) if "v_proj" not in kinds]
    if options.rotated == "none":
        return False, []
    if options.rotated == "all":
        return stream_free, free
    rounding = partial(_rounded, work)
    sites: Sites = site_errors(work.loaded, windows, options.draw, rounding, options.activations)
    _log.info("stream: error %.6g, rotated %.6g", *sites.stream)
    for layer, errors in enumerate(sites.values):
        _log.info("values of layer %d: error %.6g, rotated %.6g", layer, *errors)
    return stream_free and sites.stream.rotates, [layer for layer in sites.chosen_values if layer in free]


def _rounded(work: Work, weight: Tensor) -> Tensor:
    return work.method.learned_weight(weight, None, work.options).dense()


def _rotated(work: Work, windows: Tensor) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Rotate the model in place where the options say so; the norms and tables that this changes."""
    if not hasattr(work.options, "rotated"):
        return {}, {}
    with stage("choose rotations", 0):
        of_stream, of_values = rotated_sites(work, windows)
    _log.info("rotated: stream %s, values of layers %s", of_stream, of_values)
    if of_stream or of_values:
        rotate(work.loaded.model, work.loaded.shape, work.options.draw, work.progress, of_stream, of_values)
    if not of_stream:
        return {}, {}
    model = work.loaded.model
    norms = {name: gain.detach().cpu().numpy() for name, gain in norm_weights(model).items()}
    tables = {"embed_tokens": model.model.embed_tokens.weight, "lm_head": model.lm_head.weight}
    return norms, {name: table.detach().half().cpu().numpy() for name, table in tables.items()}


def _start(work: Work) -> list[BlockTensors]:
    student = []
    for layer, block in enumerate(blocks(work.loaded.model)):
        weights: list[LearnedWeight] = []
        for linear in block_linears(block, layer):
            try:
                options = work.options.for_kind(linear.kind)
                with stage("solve", layer):
                    weights.append(work.method.learned_weight(linear.module.weight, None, options))
            except InputError as error:
                raise InputError(f"{linear.name}: {error}") from None
        student.append(block_tensors(block)._replace(weights=tuple(weights)))
        work.progress("round", layer + 1, work.loaded.shape.layers)
    return student


class _Loss(NamedTuple):
    """Norm and head, and the sum of the next tokens' negative log-likelihoods over them."""

    gain: Tensor
    head: Tensor
    eps: float

    def __call__(self, hidden: Tensor, tokens: Tensor) -> Tensor:
        x = hidden[:, :-1].float()
        normed = self.gain * (x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps))
        logits = torch.nn.functional.linear(normed, self.head).float()
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="sum")


def _step(
    model: PreTrainedModel,
    student: list[BlockTensors],
    rows: Tensor,
    function: BlockFunction,
    tables: tuple[Tensor, Tensor],
    loss_of: _Loss,
) -> float:
    """Gradients of one batch, a few windows at a time; its mean loss."""
    count, total = rows.shape[0] * (rows.shape[1] - 1), 0.0
    for tokens in rows.split(max(1, _TOKENS_PER_PASS // rows.shape[1])):
        with torch.no_grad():
            hidden = embed(model, tokens)
        with mixed_precision(rows.device):
            for tensors in student:
                hidden = checkpoint(function, hidden, *tables, tensors, use_reentrant=False, preserve_rng_state=False)
            loss = checkpoint(loss_of, hidden, tokens, use_reentrant=False, preserve_rng_state=False) / count
        loss.backward()
        total += loss.item()
    return total


def _keep(
    path: Path, step: int, trained: list[tuple[Tensor, float]], optimizer: Optimizer, schedule: LRScheduler
) -> None:
    """Everything that the next step depends on."""
    state = {
        "step": step,
        "tensors": [tensor.detach() for tensor, _ in trained],
        "optimizer": optimizer.state_dict(),
        "schedule": {"last_epoch": schedule.last_epoch},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        torch.save(state, temporary)


def _take_up(path: Path, trained: list[tuple[Tensor, float]], optimizer: Optimizer, schedule: LRScheduler) -> int:
    """Steps that a killed call did, its state put in place; 0 without one."""
    if not path.is_file():
        return 0
    state = torch.load(path, map_location="cpu", weights_only=True)
    with torch.no_grad():
        for (tensor, _), kept in zip(trained, state["tensors"], strict=True):
            tensor.copy_(kept)
    optimizer.load_state_dict(state["optimizer"])
    schedule.last_epoch = state["schedule"]["last_epoch"]
    return state["step"]
