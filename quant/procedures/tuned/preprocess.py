"""Low-rank changes of the float weights that make the quantized model predict better, before it is quantized anew.

Ref: PTQ1.61, arXiv 2502.13179, section 3.4 ("quantization preprocessing"); code zjq0455/PTQ1.61
``preprocessing/restorative_lora.py``: LoRA (Hu et al., arXiv 2106.09685) of rank 64 and alpha 16 on all linears but o
of the model that a first pass quantized, trained on text by the next tokens at 1e-4, a cosine after 5 % of warm-up, two
windows a step; its product is added to the float weights. Differences: no dropout (0.1 there); the text is the
calibration text and what the model writes after it, where the code takes 20 000 documents of RedPajama.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hw.artifact import atomic_path
from hw.errors import InputError
from quant.llama.blocks import block_linears, block_norms, blocks
from quant.methods.method import TunedOptions
from quant.procedures.latent import BlockTensors, block_tensors
from quant.procedures.modelwise import generated_text
from quant.procedures.stopwatch import stage
from quant.procedures.tuned.tune import tune
from quant.procedures.work import Work
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import Checkpoint

__all__ = ["AdaptedWeight", "merge_adapters"]

_ALPHA = 16.0
_TOKENS_PER_STEP = 4096
_WARMUP = 0.05
_LEFT_OUT = "o_proj"


class AdaptedWeight(NamedTuple):
    """A frozen weight ``base`` (n, k) and ``share`` times the product of ``left`` (n, r) and ``right`` (r, k)."""

    base: Tensor
    left: Tensor
    right: Tensor
    share: float

    def change(self) -> Tensor:
        """What is added to the base, (n, k)."""
        return self.share * (self.left @ self.right)

    def dense(self) -> Tensor:
        """Both, differentiable in the factors."""
        return self.base + self.change()


class _Plan(TunedOptions):
    """Of the tuning: float activations, one epoch."""

    @property
    def int8_calibration(self) -> bool:
        return False


def merge_adapters(work: Work, first_pass: Callable[[], Sequence[Path]]) -> None:
    """Change the linears of ``work.loaded`` in place; ``first_pass`` gives checkpoints of its quantized blocks.

    The changes are kept, and a later call takes them from there; a killed one goes on from a snapshot.

    Raises:
        InputError: a rank above the width of a linear, or a loss that is not finite.
    """
    path = work.parts / "adapters.safetensors"
    if not path.is_file():
        _check_rank(work)
        student, adapted = _student(work, first_pass())
        _train(work, student, adapted)
        found = {
            f"{name}.{side}": getattr(one, side).detach() for name, one in adapted.items() for side in ("left", "right")
        }
        with atomic_path(path) as temporary:
            save_file({name: factor.contiguous().cpu() for name, factor in found.items()}, temporary)
    factors, share = load_file(path), _ALPHA / work.options.preprocess_rank
    with torch.no_grad():
        for layer, block in enumerate(blocks(work.loaded.model)):
            for linear in block_linears(block, layer):
                if linear.kind != _LEFT_OUT:
                    left, right = (factors[f"{layer}.{linear.kind}.{side}"] for side in ("left", "right"))
                    weight = linear.module.weight
                    weight.add_((share * (left @ right)).to(weight.device, weight.dtype))


def _check_rank(work: Work) -> None:
    shape, rank = work.loaded.shape, work.options.preprocess_rank
    smallest = min(min(shape.linear(kind)) for kind in LINEAR_KINDS if kind != _LEFT_OUT)
    if rank > smallest:
        raise InputError(
            f"option 'preprocess_rank' must be at most {smallest}, the narrowest linear of {shape.name!r}, not {rank}"
        )


def _student(work: Work, parts: Sequence[Path]) -> tuple[list[BlockTensors], dict[str, AdaptedWeight]]:
    """The quantized blocks with a correction beside each linear but o, and these by name; it starts at zero."""
    rank, share = work.options.preprocess_rank, _ALPHA / work.options.preprocess_rank
    generator = torch.Generator().manual_seed(work.seed)
    student, adapted = [], {}
    for layer, (block, part) in enumerate(zip(blocks(work.loaded.model), parts, strict=True)):
        stored, weights = Checkpoint(part), []
        device = work.loaded.model.model.embed_tokens.weight.device
        for kind in LINEAR_KINDS:
            base = stored.solution(layer, kind).to(device).dense()
            if kind == _LEFT_OUT:
                weights.append(base)
                continue
            right = torch.empty(rank, base.shape[1])
            nn.init.kaiming_uniform_(right, a=math.sqrt(5), generator=generator)
            adapted[f"{layer}.{kind}"] = AdaptedWeight(base, base.new_zeros(len(base), rank), right.to(device), share)
            weights.append(adapted[f"{layer}.{kind}"])
        gains = [torch.from_numpy(stored.norms()[name]).to(device) for name in block_norms(block, layer)]
        attention, mlp = gains or (block.input_layernorm.weight, block.post_attention_layernorm.weight)
        plain = block_tensors(block)
        student.append(plain._replace(weights=tuple(weights), attention_norm=attention, mlp_norm=mlp))
    return student, adapted


def _train(work: Work, student: list[BlockTensors], adapted: dict[str, AdaptedWeight]) -> None:
    options, length = work.options, work.windows.shape[1]
    windows = work.windows.to(next(work.loaded.model.parameters()).device)
    if options.preprocess_windows:
        count = options.preprocess_windows
        written = generated_text(work.loaded, windows, count, work.seed, work.texts, work.progress).flatten()
        windows = torch.cat([windows, written[: len(written) // length * length].view(-1, length)])
    batch = max(1, _TOKENS_PER_STEP // length)
    generator, rows = torch.Generator().manual_seed(work.seed), []
    while sum(map(len, rows)) < options.preprocess_steps * batch:
        rows.append(torch.randperm(len(windows), generator=generator))
    chosen = torch.cat(rows)[: options.preprocess_steps * batch].to(windows.device)
    plan = _Plan(epochs=1, rate=options.preprocess_rate, tokens_per_step=batch * length, warmup=_WARMUP)
    trained = [(factor, plan.rate) for one in adapted.values() for factor in (one.left, one.right)]
    progress = partial(work.progress, "preprocess")
    with stage("preprocess", 0):
        tune(work.loaded, student, trained, windows[chosen], plan, work.seed, progress, work.parts / "preprocess.pt")
