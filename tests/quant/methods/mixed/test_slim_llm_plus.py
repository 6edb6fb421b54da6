"""Claims: SliM-LLM+ starts at the clipping of blocks of different widths, learns, and resumes to equal bytes."""

import math

import pytest
import torch

from hw.errors import InputError
from quant.llama.blocks import blocks, embed
from quant.methods.mixed import slim_llm, slim_llm_plus
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.latent import block_function, block_tensors, rotary_tables
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import Checkpoint
from tests.quant.methods.problems import problem
from tests.quant.tiny import TEXT, work_on


def fit(tiny, folder, progress=lambda *_: None, **fields):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    given = {"group": 4, "block_tokens_per_step": 128, "block_rate": 0.1, **fields}
    return carry(work_on(tiny, "slim-llm+", windows, folder, progress, **given)).parts


def naive_start(weight, widths, group):
    """Both ends times sigmoid(4), signs of mean magnitude times sigmoid(4) + 0.5, weight by weight."""
    share = 1 / (1 + math.exp(-4))
    rows = []
    for row in weight.tolist():
        found = []
        for one, width in enumerate(widths):
            part = row[one * group : (one + 1) * group]
            mean = sum(part) / len(part)
            if width == 1:
                scale = sum(map(abs, part)) / len(part) * (share + 0.5)
                found += [mean + (scale if w >= mean else -scale) for w in part]
                continue
            low, high, top = share * min(0, *part), share * max(0, *part), 2**width - 1
            step = (high - low) / top
            zero = round(-low / step)
            found += [step * (min(max(round(w / step) + zero, 0), top) - zero) for w in part]
        rows.append(found)
    return torch.tensor(rows)


def test_it_starts_at_the_clipping_of_the_allocated_blocks():
    weight, inputs, hessian = problem(k=68)
    options = slim_llm_plus.Options(group=8)
    first = slim_llm_plus.learned_weight(weight, hessian, options, inputs)
    solution = first.solution()
    assert solution.widths == slim_llm.solve(weight, hessian, slim_llm.Options(group=8), inputs).widths
    assert {1, 2, 3} == set(solution.widths)
    expected = naive_start(weight, solution.widths, 8)
    torch.testing.assert_close(solution.dense(), expected, rtol=2e-3, atol=2e-3 * weight.abs().max().item())
    torch.testing.assert_close(first.dense(), solution.dense(), rtol=1e-5, atol=1e-7)


def test_gradients_reach_the_ends_of_codes_and_the_scale_of_signs_alone():
    weight, inputs, hessian = problem(k=72)
    first = slim_llm_plus.learned_weight(weight, hessian, slim_llm_plus.Options(group=8), inputs)
    first.logits.requires_grad_(True)
    first.dense().square().sum().backward()
    signs = first.largest == 1
    assert (first.logits.grad[0] != 0).any(0).all()
    assert not first.logits.grad[1][:, signs].any()
    assert first.logits.grad[1][:, ~signs].any()


def test_learning_lowers_the_error_towards_both_targets(tiny, tmp_path):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 12, "words")
    tables, hidden = rotary_tables(tiny.model, 32), embed(tiny.model, windows)
    plain = [block_tensors(block) for block in blocks(tiny.model)]
    function = block_function(tiny.model, False, False)
    float_hidden = function(hidden, *tables, plain[0])

    def errors(epochs):
        """Mean squared errors of the second block towards its output on the float and on the quantized prefix."""
        dense = [
            tuple(Checkpoint(part).solution(layer, kind).dense() for kind in LINEAR_KINDS)
            for layer, part in enumerate(fit(tiny, tmp_path / str(epochs), epochs=epochs))
        ]
        prefix = function(hidden, *tables, plain[0]._replace(weights=dense[0]))
        output = function(prefix, *tables, plain[1]._replace(weights=dense[1]))
        targets = function(float_hidden, *tables, plain[1]), function(prefix, *tables, plain[1])
        return [(output - target).square().mean().item() for target in targets]

    assert all(after < 0.9 * before for before, after in zip(errors(0), errors(12), strict=True))


def test_both_targets_count(tiny, tmp_path, monkeypatch):
    """Without the second one, the second block, whose prefix is quantized, ends elsewhere; the first one does not."""
    both = fit(tiny, tmp_path / "both", epochs=2)
    monkeypatch.setattr(slim_llm_plus.Options, "both_streams", False)
    one = fit(tiny, tmp_path / "one", epochs=2)
    scales = [
        [Checkpoint(part).solution(layer, "up_proj").scales for layer, part in enumerate(parts)]
        for parts in (both, one)
    ]
    assert not torch.equal(scales[0][1], scales[1][1])


def test_killed_job_goes_on_to_the_same_bytes(tiny, tmp_path):
    whole = fit(tiny, tmp_path / "whole", epochs=2)

    def kill(stage, done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tiny, tmp_path / "killed", kill, epochs=2)
    assert [path.name for path in (tmp_path / "killed").iterdir()] == ["0.safetensors"]
    resumed = fit(tiny, tmp_path / "killed", epochs=2)
    assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]


def test_weights_that_are_not_finite_are_named(tiny, tmp_path):
    with torch.no_grad():
        blocks(tiny.model)[1].mlp.down_proj.weight[0, 0] = math.nan
    with pytest.raises(InputError, match=r"model\.layers\.1\.mlp\.down_proj: weights must be finite"):
        fit(tiny, tmp_path, epochs=0)
