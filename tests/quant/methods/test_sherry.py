"""Claims: Sherry keeps the best three of four with their best scale, trains so, and stores 5 bits for four weights."""

import itertools

import pytest
import torch

from hw.errors import InputError
from quant.llama.blocks import blocks
from quant.methods import sherry
from quant.methods.sherry import Options, keep_three, kept_scale, solve
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.procedures.latent import latent_weight
from quant.procedures.unfinished_blocks import read_window
from quant.registry import options_for
from quant.shapes import LINEAR_KINDS
from quant.weights.checkpoint import Checkpoint
from tests.quant.methods.problems import output_error, problem
from tests.quant.tiny import TEXT, work_on

CODES = [codes for codes in itertools.product((-1, 0, 1), repeat=4) if codes.count(0) == 1]
QUICK = {
    "group": 8, "epochs": 1, "distill_steps": 2, "distill_length": 16, "distill_tokens_per_step": 64,
    "generated_windows": 0,
}  # fmt: skip


def test_there_are_32_codes():
    assert len(CODES) == 32


def test_signs_and_zero_by_hand():
    weight = torch.tensor([[3.0, -1, 2, -4, 0, 5, 6, -7], [1, 1, 1, 1, -2, 0.5, -0.5, 2]])
    assert keep_three(weight).tolist() == [[1, 0, 1, -1, 0, 1, 1, -1], [0, 1, 1, 1, -1, 0, -1, 1]]
    assert keep_three(torch.tensor([[3.0, -1, 2, -4, -9, 0]])).tolist() == [[1, 0, 1, -1, -1, 1]]
    assert kept_scale(weight).tolist() == [27 / 6, (3 + 4.5) / 6]


@pytest.mark.parametrize("seed", range(5))
def test_codes_and_scale_are_the_best_of_all(seed):
    """Two codes and one scale, against all 32 * 32 codes each with its least-squares scale."""
    row = torch.randn(8, generator=torch.Generator().manual_seed(seed))
    errors = []
    for first, second in itertools.product(CODES, CODES):
        codes = torch.tensor(first + second, dtype=torch.float32)
        scale = (row @ codes) / (codes @ codes)
        errors.append((row - scale * codes).square().sum().item())
    found = solve(row[None], None, Options(group=8, feedback=False))
    assert found.dense().sub(row).square().sum().item() == pytest.approx(min(errors), rel=1e-3)


def test_feedback_chooses_on_compensated_weights_and_lowers_the_output_error():
    weight, inputs, hessian = problem(n=24)
    plain, fed = (solve(weight, hessian, Options(group=32, feedback=feedback)) for feedback in (False, True))
    assert output_error(inputs, weight, fed.dense()) < 0.9 * output_error(inputs, weight, plain.dense())
    assert (plain.trits[..., :32] != fed.trits[..., :32]).any()
    orthogonal = solve(weight, torch.eye(72), Options(group=32))
    assert torch.equal(orthogonal.dense(), plain.dense())  # nothing to take up where inputs are uncorrelated


def test_true_bits_by_hand():
    """12 rows of 72 columns: 18 codes of 5 bits in 12 bytes, three scales of 16 bits."""
    weight, _, hessian = problem()
    bits = solve(weight, hessian, Options(group=32)).bits()
    assert (bits.code, bits.scale, bits.total) == (12 * 96, 12 * 3 * 16, 12 * (96 + 48))


def test_latent_weights_start_at_the_codes_and_keep_three_of_four():
    weight, _, hessian = problem()
    solution = solve(weight, hessian, Options(group=32))
    latent = latent_weight(weight, solution)
    assert torch.equal(latent.codes(), solution.trits[0].float())
    assert torch.equal(latent.solution().dense(), solution.dense())
    moved = latent._replace(latent=latent.latent + 2 * torch.randn(12, 72, generator=torch.Generator().manual_seed(1)))
    assert ((moved.codes() == 0).unflatten(1, (-1, 4)).sum(2) == 1).all()
    # a scale that turns negative or vanishes keeps three signs of four
    flipped = moved._replace(scales=torch.tensor([[-0.5, 0.0, 1.0]]).expand(12, 3)).solution()
    assert ((flipped.trits[0] == 0).unflatten(1, (-1, 4)).sum(2) == 1).all()
    assert (flipped.dense()[:, :32] == -0.5 * moved.codes()[:, :32]).all()


def test_gradients_pass_to_every_latent_weight():
    weight, _, hessian = problem()
    latent = latent_weight(weight, solve(weight, hessian, Options(group=32)))
    latent.latent.requires_grad_(True)
    latent.dense().sum().backward()
    assert torch.equal(latent.latent.grad, latent.scales.repeat_interleave(32, 1)[:, :72])


def fit(tiny, folder, progress=lambda *_: None, **given):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 8, "words")
    return carry(work_on(tiny, "sherry", windows, folder, progress, **QUICK | given))


def test_a_trained_model_has_three_signs_of_four_and_resumes_to_equal_bytes(tiny, tmp_path):
    whole = fit(tiny, tmp_path / "whole").parts
    closed = fit(tiny, tmp_path / "closed", epochs=0, distill_steps=0).parts
    changed = 0
    for layer, part in enumerate(whole):
        for kind in LINEAR_KINDS:
            trits = Checkpoint(part).solution(layer, kind).trits[0]
            assert ((trits == 0).unflatten(1, (-1, 4)).sum(2) == 1).all()
            changed += (trits != Checkpoint(closed[layer]).solution(layer, kind).trits[0]).sum().item()
    assert changed

    def kill(stage, done, total):
        if stage == "distill":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(tiny, tmp_path / "killed", kill)
    (draft, *_) = read_window(tmp_path / "killed" / "0.window.safetensors", torch.device("cpu"))
    assert draft.weights[0].three_of_four
    assert draft.weights[0].group == 8
    resumed = fit(tiny, tmp_path / "killed").parts
    assert [path.read_bytes() for path in resumed] == [path.read_bytes() for path in whole]


def test_frozen_codes_are_stored_too(tiny, tmp_path):
    parts = fit(tiny, tmp_path, distilled="scales").parts
    assert Checkpoint(parts[0]).headers[0, "q_proj"].layout == "three-of-four"
    assert blocks(tiny.model)[0].self_attn.q_proj.weight.unique().numel() > 8  # the teacher stays as it is


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"group": 6}, "field 'group' should be a multiple of 4, not 6"),
        ({"group": 0}, "field 'group' should be greater than or equal to 4, not 0"),
        ({"flips": 3}, "option 'flips' must be one of .*; 'flips' is an option of pt-bitnet"),
    ],
)
def test_options_that_cannot_be_are_one_line(given, message):
    with pytest.raises(InputError, match=message):
        options_for("sherry", given)


def test_no_hessian_is_needed_without_feedback():
    weight, _, _ = problem()
    with pytest.raises(InputError, match="needs the Hessian"):
        solve(weight, None, Options())
    assert sherry.solve(weight, None, Options(feedback=False)).layout == "three-of-four"
