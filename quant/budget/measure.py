"""What takes time on the machine at hand, measured before the job starts: steps of training, and all that is beside.

Steps are real ones from rounded weights; the rest is the job itself carried out on the first block, or on a window.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import NamedTuple

import torch

from hw.artifact import sha256_file
from quant.budget.plan import Times
from quant.kv.formats import KvFormat
from quant.llama.blocks import LoadedModel, block_linears, blocks, embed, first_blocks, norm_weights, working_block
from quant.llama.cached import cached_attention
from quant.llama.evaluate import LastWord, last_word_accuracy, perplexity
from quant.llama.recorder import record_pass
from quant.methods.method import ModelOptions
from quant.methods.rtn import Options as RoundOptions
from quant.methods.rtn import solve as round_to_nearest
from quant.procedures.carry import carry
from quant.procedures.latent import BlockTensors, block_function, block_tensors, latent_weight, rotary_tables
from quant.procedures.modelwise import distill_blocks
from quant.procedures.reconstruct import TrainingPlan, reconstruct
from quant.procedures.stopwatch import measured, now
from quant.procedures.student.tables import student_tables
from quant.procedures.work import Work
from quant.quantizer import apply_checkpoint
from quant.recording import write_recording
from quant.weights.checkpoint import Checkpoint, join_checkpoints

__all__ = ["Evaluated", "measure_model", "measure_times", "steps_per_epoch"]

_STEPS = 3  # the first of which is not counted
_FEW_PASSAGES = 32


class Evaluated(NamedTuple):
    """What a job measures and records beside training: windows of each text, last words, the cache's format."""

    windows: Sequence[torch.Tensor]  # int64 (count, length) each
    passages: Sequence[LastWord]
    kv: KvFormat | None
    recorded_tokens: int


def measure_times(work: Work, evaluated: Evaluated, load_s: float) -> Times:
    """Seconds of a block's steps, and of what a job does whatever is trained; the model stays.

    ``work.windows``: on the model's device; ``work.parts``: a folder that nothing stays in.
    """
    report, work = partial(work.progress, "measure times"), work._replace(progress=lambda *_: None)
    report(0, 3)
    block_step_s = _block_step(work)
    report(1, 3)
    block_s = max(0.0, _block(work, evaluated) - block_step_s)
    report(2, 3)
    evaluation_s = _evaluation(work.loaded, evaluated)
    report(3, 3)
    return Times(block_step_s=block_step_s, load_s=load_s, block_s=block_s, evaluation_s=evaluation_s)


def measure_model(work: Work, times: Times) -> Times:
    """``times`` with those of the whole model's distillation; the model stays."""
    report, work = partial(work.progress, "measure distillation"), work._replace(progress=lambda *_: None)
    report(0, 1)
    step_s, beside_s = _model_steps(work)
    report(1, 1)
    return times.model_copy(update={"model_step_s": step_s, "model_s": beside_s})


def steps_per_epoch(options: ModelOptions, count: int, length: int) -> int:
    """Steps of one block's reconstruction over ``count`` learned windows."""
    return count // max(1, min(count, options.block_tokens_per_step // length))


def _block_step(work: Work) -> float:
    """A step of the first block's reconstruction."""
    loaded, options, windows = work.loaded, work.options, work.windows
    learned = len(windows) - options.held_out
    per_step = max(1, min(learned, options.block_tokens_per_step // windows.shape[1]))
    with torch.no_grad():
        inputs = embed(loaded.model, windows[:per_step])
    function = block_function(loaded.model, options.int8_calibration, inputs.device.type == "cuda")
    tables, targets = rotary_tables(loaded.model, windows.shape[1]), inputs + 0.01
    seconds = []
    for _ in range(_STEPS):
        student = [_rounded(loaded, 0, options)]
        start = now()
        plan = TrainingPlan(1, options.block_rate, options.block_tokens_per_step, 0, options.soften)
        reconstruct(function, tables, student, inputs, targets, plan, "first block")
        seconds.append(now() - start)
    return min(seconds[1:])


def _model_steps(work: Work) -> tuple[float, float]:
    """A step of the whole model's distillation, and what distillation takes beside its steps."""
    loaded, options = work.loaded, work.options
    student = [_rounded(loaded, layer, options) for layer in range(len(blocks(loaded.model)))]
    norm = loaded.model.model.norm.weight.detach().clone()
    work = work._replace(options=options.model_copy(update={"distill_steps": _STEPS}))
    start = now()
    with measured() as laps:
        distill_blocks(work, student, norm, work.windows[:0], student_tables(loaded, options))
    steps = [lap for lap in laps if lap.stage == "distill step"]
    return min(lap.seconds for lap in steps if lap.number), now() - start - sum(lap.seconds for lap in steps)


def _block(work: Work, evaluated: Evaluated) -> float:
    """The whole job on the first block alone, with one step."""
    options = work.options.model_copy(update={"block_steps": 1, "distill_steps": 0, "tables": "kept"})
    loaded = work.loaded._replace(shape=work.loaded.shape.model_copy(update={"layers": 1}))
    tokens = evaluated.windows[0].flatten()[: min(evaluated.recorded_tokens, loaded.shape.max_positions)].tolist()
    path, model = work.parts / "ternary.safetensors", loaded.model
    with first_blocks(model, 1), _kept(model):
        start = now()
        join_checkpoints(path, *carry(work._replace(loaded=loaded, options=options)))
        checkpoint = Checkpoint(path)
        apply_checkpoint(loaded, checkpoint)
        form = evaluated.kv
        recording = record_pass(loaded, checkpoint, sha256_file(path), tokens, "", "", kv=form)
        write_recording(work.parts, recording)
        return now() - start


def _evaluation(loaded: LoadedModel, evaluated: Evaluated) -> float:
    """Perplexities of all windows, in A16, A8 and over the cache's format, and last words: before and after."""
    model, window = loaded.model, evaluated.windows[0][:1]
    count = sum(map(len, evaluated.windows))
    seconds = count * sum(_timed(partial(perplexity, model, window, int8)) for int8 in (False, True))
    if evaluated.kv:
        with cached_attention(model, evaluated.kv):
            seconds += count * _timed(partial(perplexity, model, window, True))
    if evaluated.passages:
        few = evaluated.passages[:: max(1, len(evaluated.passages) // _FEW_PASSAGES)]
        seconds += len(evaluated.passages) / len(few) * _timed(partial(last_word_accuracy, model, few, True))
    return 2 * seconds


def _timed(call: Callable[[], object]) -> float:
    start = now()
    call()
    return now() - start


@contextmanager
def _kept(model: torch.nn.Module) -> Iterator[None]:
    """Give the model's blocks and norms their weights back at the end."""
    own = {id(one): (one, one.data) for one in (*model.model.layers.parameters(), *norm_weights(model).values())}
    try:
        yield
    finally:
        for parameter, data in own.values():
            parameter.data = data


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
