"""Claims: methods learned against the block's output bring it nearer, and resume to equal bytes."""

import math

import pytest
import torch

from hw.errors import InputError
from quant.llama.blocks import blocks, embed
from quant.methods import omniquant, pb_llm_qat
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.latent import block_function, block_tensors, rotary_tables
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import Checkpoint
from tests.quant.methods.problems import problem
from tests.quant.tiny import TEXT, work_on

NAMES = {omniquant: "omniquant", pb_llm_qat: "pb-llm-qat"}
METHODS = [(omniquant, {"group": 16, "block_rate": 0.1}), (pb_llm_qat, {"block_rate": 0.02})]


def quiet(*arguments):
    pass


def fit(tiny, method, folder, progress=quiet, **fields):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    given = {"objective": "block", "block_tokens_per_step": 128, **fields}
    return carry(work_on(tiny, NAMES[method], windows, folder, progress, **given)).parts


@pytest.mark.parametrize(("method", "fields"), METHODS)
def test_first_state_is_what_the_closed_form_starts_from(method, fields):
    weight, _, hessian = problem()
    options = method.Options(steps=0, **fields)
    first = method.learned_weight(weight, hessian, options)
    assert torch.equal(first.solution().dense(), method.solve(weight, hessian, options).dense())
    assert torch.allclose(first.dense(), first.solution().dense(), atol=1e-6)


@pytest.mark.parametrize(("method", "fields"), METHODS)
def test_learning_brings_the_block_nearer_to_the_float_block(tiny, tmp_path, method, fields):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    tables, hidden = rotary_tables(tiny.model, 32), embed(tiny.model, windows)
    plain = block_tensors(blocks(tiny.model)[0])
    targets = block_function(tiny.model, False, False)(hidden, *tables, plain)

    def error(epochs):
        stored = Checkpoint(fit(tiny, method, tmp_path / str(epochs), epochs=epochs, **fields)[0])
        dense = tuple(stored.solution(0, kind).dense() for kind in LINEAR_KINDS)
        found = block_function(tiny.model, False, False)(hidden, *tables, plain._replace(weights=dense))
        return (found - targets).square().mean()

    assert error(15) < 0.9 * error(0)


def test_activations_while_learning_are_those_asked_for(tiny, tmp_path):
    paths = [
        fit(tiny, pb_llm_qat, tmp_path / name, epochs=5, calibrated=name, metric="magnitude")[1]
        for name in ("A8", "A16")
    ]
    as_int8, as_float = (Checkpoint(path) for path in paths)
    differ = [
        kind for kind in LINEAR_KINDS if (as_int8.solution(1, kind).trits != as_float.solution(1, kind).trits).any()
    ]
    assert differ


@pytest.mark.parametrize(("method", "fields"), METHODS)
def test_killed_job_goes_on_to_the_same_bytes(tiny, tmp_path, method, fields):
    whole = fit(tiny, method, tmp_path / "whole", epochs=2, **fields)

    def kill(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tiny, method, tmp_path / "killed", kill, epochs=2, **fields)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["0.safetensors"]
    resumed = fit(tiny, method, tmp_path / "killed", epochs=2, **fields)
    assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]


def test_exploding_block_is_named(tiny, tmp_path):
    with torch.no_grad():
        blocks(tiny.model)[1].mlp.down_proj.weight.fill_(math.inf)
    with pytest.raises(InputError, match=r"model\.layers\.1\.mlp\.down_proj: weights must be finite"):
        fit(tiny, omniquant, tmp_path, epochs=1)
