"""Step times of training on the machine at hand: a few real steps from rounded weights, before the job starts."""

import time
from functools import partial

import torch

from hw.progress import StageReport
from quant.budget.plan import StepTimes
from quant.llama.blocks import LoadedModel, block_linears, blocks, embed, working_block
from quant.methods.method import ModelOptions
from quant.methods.rtn import Options as RoundOptions
from quant.methods.rtn import solve as round_to_nearest
from quant.procedures.distill import distill
from quant.procedures.latent import BlockTensors, block_function, block_tensors, latent_weight, rotary_tables
from quant.procedures.modelwise import corpus_of, teacher_blocks
from quant.procedures.reconstruct import TrainingPlan, reconstruct
from quant.procedures.stopwatch import measured

__all__ = ["measure_steps", "steps_per_epoch"]

_STEPS = 3  # the first of which is not counted


def measure_steps(
    options: ModelOptions, loaded: LoadedModel, windows: torch.Tensor, progress: StageReport
) -> StepTimes:
    """Seconds of a step of reconstruction and of distillation; the model stays.

    ``windows``: calibration tokens, int64 ``(count, length)``.
    """
    windows = windows.to(loaded.model.lm_head.weight.device)
    progress("measure step times", 0, 2)
    block_step_s = _block_step(options, loaded, windows)
    progress("measure step times", 1, 2)
    model_step_s = _model_step(options, loaded, windows)
    progress("measure step times", 2, 2)
    return StepTimes(block_step_s=block_step_s, model_step_s=model_step_s)


def steps_per_epoch(options: ModelOptions, count: int, length: int) -> int:
    """Steps of one block's reconstruction over ``count`` learned windows."""
    return count // max(1, min(count, options.block_tokens_per_step // length))


def _block_step(options: ModelOptions, loaded: LoadedModel, windows: torch.Tensor) -> float:
    """A step of the first block's reconstruction."""
    per_step = max(1, min(len(windows), options.block_tokens_per_step // windows.shape[1]))
    with torch.no_grad():
        inputs = embed(loaded.model, windows[:per_step])
    function = block_function(loaded.model, options.int8_calibration, inputs.device.type == "cuda")
    tables, targets = rotary_tables(loaded.model, windows.shape[1]), inputs + 0.01
    seconds = []
    for _ in range(_STEPS):
        student = [_rounded(loaded, 0, options)]
        start = time.perf_counter()
        plan = TrainingPlan(1, options.block_rate, options.block_tokens_per_step, 0, options.soften)
        reconstruct(function, tables, student, inputs, targets, plan, "first block")
        seconds.append(time.perf_counter() - start)
    return min(seconds[1:])


def _model_step(options: ModelOptions, loaded: LoadedModel, windows: torch.Tensor) -> float:
    """A step of the whole model's distillation."""
    student = [_rounded(loaded, layer, options) for layer in range(len(blocks(loaded.model)))]
    norm = loaded.model.model.norm.weight.detach().clone()
    corpus = corpus_of(windows, windows[:0], options.distill_length, 1.0)
    plan = TrainingPlan(1, options.distill_rate, options.distill_tokens_per_step, 0, options.distill_soften)
    with measured() as laps:
        teacher = teacher_blocks(loaded)
        distill(loaded.model, teacher, student, norm, corpus, _STEPS, plan, lambda *_: None)
    return min(lap.seconds for lap in laps if lap.stage == "distill step" and lap.number)


@torch.no_grad()
def _rounded(loaded: LoadedModel, layer: int, options: ModelOptions) -> BlockTensors:
    """A block whose weights are rounded to trits: as much work as one in closed form, which takes minutes to find."""
    block = working_block(loaded.model, layer)
    plain, solve = block_tensors(block), partial(round_to_nearest, options=RoundOptions(group=options.group))
    return BlockTensors(
        weights=tuple(
            latent_weight(linear.module.weight, solve(linear.module.weight, None), options.rank)
            for linear in block_linears(block, layer)
        ),
        biases=plain.biases,
        attention_norm=plain.attention_norm.detach().clone(),
        mlp_norm=plain.mlp_norm.detach().clone(),
    )
