"""FlexRound and LRQ start at rounding to nearest, bit for bit, learn other integers, and store nothing else."""

import math

import numpy as np
import pytest
import torch

from hw.errors import InputError
from quant.methods.trained import flexround, lrq
from quant.methods.trained.divisors import DivisorOptions
from quant.procedures.calibrate import token_windows
from quant.procedures.carry import carry
from quant.registry import options_for
from quant.weights.checkpoint import Checkpoint
from quant.weights.storage import load_linear, store_linear
from tests.quant.methods.problems import problem
from tests.quant.tiny import TEXT, work_on

METHODS = {"flexround": flexround, "lrq": lrq}
RANGES = 100


def started(name, weight, hessian=None, **given):
    return METHODS[name].learned_weight(weight, hessian, options_for(name, given))


def naive_start(row, levels):
    """Step and integers of one group: all ranges (and zero points) in turn, the least sum of |error|**2.4."""
    best = (math.inf, 0.0, None)
    largest = max(map(abs, row))
    extent = max(*row, 0.0) - min(*row, 0.0)
    for i in range(1, RANGES + 1):
        for zero in range(4) if levels == "2bit" else (None,):
            step = np.float32(np.float16(np.float32(extent if levels == "2bit" else largest) * np.float32(i / RANGES)))
            if levels == "2bit":
                step = np.float32(np.float16(np.float32(extent) * np.float32(i / RANGES) / np.float32(3)))
            low, high = (-1, 1) if zero is None else (-zero, 3 - zero)
            codes = [min(max(round(float(np.float32(w) / step)), low), high) for w in row]
            error = sum(abs(float(step) * q - w) ** 2.4 for q, w in zip(codes, row, strict=True))
            if error < best[0]:
                best = (error, float(step), codes)
    return best[1], best[2]


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("levels", ["ternary", "2bit"])
def test_iteration_0_is_rounding_to_nearest_bit_for_bit(name, levels):
    weight, _, hessian = problem(n=4, k=40)
    first = started(name, weight, hessian, levels=levels, group=16)
    stored = first.solution()
    for row in range(4):
        for group, start in enumerate(range(0, 40, 16)):
            step, codes = naive_start(weight[row, start : start + 16].tolist(), levels)
            assert stored.scales[0, row, group].item() == step
            value = torch.tensor(codes, dtype=torch.float32) * step
            assert torch.equal(stored.dense()[row, start : start + 16], value)
    assert torch.equal(first.dense(), stored.dense())


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("digits", [1, 2, 3])
def test_only_integers_and_steps_are_stored(name, digits):
    weight, _, hessian = problem()
    first = started(name, weight, hessian, digits=digits, group=None)
    header, arrays = store_linear(first.solution())
    assert set(arrays) == {"codes", "scales"}
    assert header.planes == digits
    assert first.solution().bits().total == 8 * sum(array.nbytes for array in arrays.values())
    assert torch.equal(load_linear(header, arrays).dense(), first.dense())


def test_a_column_factor_alone_moves_whole_columns():
    """Doubling the divisor of column 3 halves what is rounded there, in every row, and nowhere else."""
    weight, _, hessian = problem(n=6, k=24)
    first = started("lrq", weight, hessian, group=None)
    columns = first.exponents.columns.clone()
    columns[0, 3] = math.log(2)
    moved = first._replace(exponents=first.exponents._replace(columns=columns))
    expected = first.codes().clone()
    expected[:, 3] = (weight[:, 3] / first.first[:, 0] / 2).round().clamp(-1, 1)
    assert torch.equal(moved.codes(), expected)
    assert not torch.equal(moved.codes()[:, 3], first.codes()[:, 3])


def test_exponents_by_hand():
    """One row: divisors 0.5, 0.5 e, 0.5 / e of weights 0.6, 0.6, 0.2."""
    each = torch.tensor([[0.0, 1.0, -1.0]])
    first = started("flexround", torch.tensor([[0.6, 0.6, 0.2]]), group=None)._replace(
        first=torch.tensor([[0.5]]), exponents=flexround.FullExponents(each, torch.zeros(1, 1))
    )
    assert first.codes().tolist() == [[1, 0, 1]]  # 1.2, 0.44, 1.09
    ranked = lrq.LowRankExponents(torch.tensor([[2.0]]), torch.tensor([[0.0, 0.5, -0.5]]), *torch.zeros(2, 1, 1))
    assert first._replace(exponents=ranked).codes().tolist() == [[1, 0, 1]]


@pytest.mark.parametrize("name", METHODS)
def test_the_gradient_is_that_of_the_formula_and_stops_at_the_clip(name):
    """d(s q)/dE = -s w / (s e^E) inside the clip, 0 beyond 1.5 steps; d(s q)/d(log s) = s q + the sum of the former."""
    weight = torch.tensor([[0.2, -0.9, 2.0, -0.1]])
    first = started(name, weight, group=None)._replace(first=torch.tensor([[1.0]]))
    for tensor, _ in first.learned(1.0):
        tensor.requires_grad_(True)
    pull = torch.tensor([[3.0, 5.0, 7.0, 11.0]])
    (first.dense() * pull).sum().backward()
    inside = -weight * torch.tensor([[1.0, 1.0, 0.0, 1.0]]) * pull
    shared = first.exponents.each if name == "flexround" else first.exponents.columns
    torch.testing.assert_close(shared.grad, inside)
    codes = torch.tensor([[0.0, -1.0, 1.0, 0.0]])
    torch.testing.assert_close(first.shift.grad, (codes * pull + inside).sum(1, keepdim=True))
    torch.testing.assert_close(first.exponents.rows.grad, inside.sum(1, keepdim=True))


def test_the_outermost_of_four_integers_pass_gradients_in_full():
    """Steps 0.2, -1.3, 2.4, 2.6 with zero point 1 are 0, -1, 2 and, beyond the clip, 2: 1, 1, 1 and 0 times -w."""
    weight = torch.tensor([[0.2, -1.3, 2.4, 2.6]])
    first = started("flexround", weight, levels="2bit", group=None)
    first = first._replace(first=torch.tensor([[1.0]]), zeros=torch.tensor([[1.0]]))
    first.exponents.each.requires_grad_(True)
    assert first.codes().tolist() == [[0, -1, 2, 2]]
    first.dense().sum().backward()
    torch.testing.assert_close(first.exponents.each.grad, torch.tensor([[-0.2, 1.3, -2.4, 0.0]]))


def test_exponents_are_float32_inside_mixed_precision_too():
    generator = torch.Generator().manual_seed(0)
    first = started("lrq", problem()[0])
    left = torch.randn(first.exponents.left.shape, generator=generator)
    exponents = first.exponents._replace(left=left)
    with torch.autocast("cpu", torch.bfloat16):
        inside = exponents.matrix()
    assert torch.equal(inside, exponents.matrix())


def test_zero_points_stay_while_everything_else_is_learned():
    first = started("lrq", problem()[0], levels="2bit")
    learned = [id(tensor) for tensor, rate in first.learned(0.25) if rate == 0.25]
    assert learned == [id(tensor) for tensor in (first.shift, *first.exponents)]
    assert id(first.zeros) not in learned


def test_the_low_rank_start_is_kaimings_and_repeats():
    first, again = (started("lrq", problem()[0], rank=5) for _ in range(2))
    assert first.exponents.left.shape == (12, 5)
    assert not first.exponents.left.any()
    assert torch.equal(first.exponents.right, again.exponents.right)
    limit = 72**-0.5  # gain sqrt(2 / (1 + 5)) times sqrt(3 / 72)
    assert 0.9 * limit < first.exponents.right.abs().max() <= limit
    assert started("lrq", problem()[0]).exponents.left.shape[1] == 12  # a quarter of 72 inputs is above 12 outputs


@pytest.mark.parametrize("name", METHODS)
def test_inputs_that_were_always_zero_get_weight_zero(name):
    weight, _, hessian = problem(dead=(4, 7))
    assert not started(name, weight, hessian).solution().dense()[:, [4, 7]].any()


@pytest.mark.parametrize("name", METHODS)
def test_learning_brings_the_block_nearer_and_resumes_to_equal_bytes(name, tiny, tmp_path):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 8, "words")
    given = {"group": 8, "block_rate": 0.02, "block_tokens_per_step": 64, "grid": 20}
    reported = []

    def run(folder, epochs, progress=lambda *_: None):
        return carry(work_on(tiny, name, windows, tmp_path / folder, progress, epochs=epochs, **given)).parts

    def kill(*_):
        raise KeyboardInterrupt

    start, whole = run("start", 0), run("whole", 12)
    error = {}
    for label, part in (("start", start[0]), ("whole", whole[0])):
        stored = Checkpoint(part)
        error[label] = block_error(tiny, windows, stored)
        reported.append({kind for _, kind in stored})
    assert error["whole"] < 0.8 * error["start"]
    with pytest.raises(KeyboardInterrupt):
        run("killed", 12, kill)
    assert [path.read_bytes() for path in run("killed", 12)] == [path.read_bytes() for path in whole]


def block_error(tiny, windows, stored):
    """Mean squared difference of the first block's outputs to those of the float block."""
    from quant.llama.blocks import block_linears, blocks, embed, run_block

    hidden, block = embed(tiny.model, windows), blocks(tiny.model)[0]
    with torch.no_grad():
        targets = run_block(tiny.model, block, hidden)
        before = {linear.kind: linear.module.weight.clone() for linear in block_linears(block, 0)}
        for linear in block_linears(block, 0):
            linear.module.weight.copy_(stored.solution(0, linear.kind).dense())
        found = run_block(tiny.model, block, hidden)
        for linear in block_linears(block, 0):
            linear.module.weight.copy_(before[linear.kind])
    return (found - targets).square().mean().item()


def test_bad_input_is_refused_in_one_line(tiny, tmp_path):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 2, "words")
    with pytest.raises(InputError, match=r"q_proj: option 'rank' must be at most 24, the smaller side of .*, not 30"):
        carry(work_on(tiny, "lrq", windows, tmp_path, rank=30))
    with pytest.raises(InputError, match=r"'rank' must be one of .*; 'rank' is an option of .*lrq"):
        options_for("flexround", {"rank": 4})
    with pytest.raises(InputError, match="option 'digits' must be left out with levels=2bit, not 3"):
        options_for("flexround", {"levels": "2bit", "digits": 3})
    with pytest.raises(InputError, match="weights must be finite"):
        started("lrq", torch.full((4, 8), math.nan))
    assert DivisorOptions().falls
