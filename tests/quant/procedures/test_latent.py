"""Claims: the block function is transformers' block; latent weights round to the codes that are stored."""

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from quant.llama.blocks import block_inputs, block_linears, blocks, embed, int8_activations, run_block
from quant.methods import pt_bitnet, rtn
from quant.procedures.latent import block_function, block_tensors, latent_weight, rotary_tables
from quant.weights.solution import LinearSolution
from tests.quant.methods.problems import problem


@pytest.mark.parametrize("int8", [False, True])
def test_block_function_equals_transformers(tiny, int8):
    hidden = embed(tiny.model, torch.arange(30).view(2, 15))
    block = blocks(tiny.model)[1]
    function = block_function(tiny.model, int8=int8, compiled=False)
    with torch.no_grad(), int8_activations(block, int8):
        expected = run_block(tiny.model, block, hidden)
    found = function(hidden, *rotary_tables(tiny.model, 15), block_tensors(block))
    assert torch.allclose(found, expected, atol=1e-5)


def test_ranges_are_those_of_the_inputs_of_linears(tiny):
    hidden, block = embed(tiny.model, torch.arange(30).view(2, 15)), blocks(tiny.model)[1]
    with torch.no_grad(), block_inputs(block_linears(block, 1)) as seen:
        run_block(tiny.model, block, hidden)
    kinds = ("q_proj", "o_proj", "gate_proj", "down_proj")
    wanted = [(seen[kind].abs().amax(-1) / seen[kind].square().mean(-1).sqrt()).log().mean() for kind in kinds]
    function = block_function(tiny.model, int8=False, compiled=False, ranges=True)
    _, found = function(hidden, *rotary_tables(tiny.model, 15), block_tensors(block))
    assert torch.allclose(found, torch.stack(wanted).mean(), atol=1e-5)


def solutions():
    weight, _, hessian = problem(10, 40, seed=1)
    options = ({"group": 16}, {"group": None}, {"group": 16, "scales": "pow2"})
    found = [pt_bitnet.solve(weight, hessian, pt_bitnet.Options(**fields)) for fields in options]
    return weight, [*found, rtn.solve(weight, None, rtn.Options(group=16))]


@pytest.mark.parametrize("index", range(4))
def test_latent_weights_start_at_the_solution(index):
    weight, found = solutions()
    solution: LinearSolution = found[index]
    latent = latent_weight(weight, solution)
    assert torch.allclose(latent.dense(), solution.dense())
    back = latent.solution()
    assert torch.equal(back.trits, solution.trits)
    assert torch.equal(back.scales, solution.scales)
    assert back.scale_kind == solution.scale_kind


def test_gradients_pass_straight_through_the_rounding():
    weight, found = solutions()
    latent = latent_weight(weight, found[0])
    latent.latent.requires_grad_(True)
    latent.scales.requires_grad_(True)
    latent.dense().sum().backward()
    spread = latent.scales.detach().repeat_interleave(16, 1)[:, :40]
    assert torch.allclose(latent.latent.grad, spread)
    codes = found[0].trits[0].float()
    assert torch.allclose(latent.scales.grad[:, 0], codes[:, :16].sum(1))


def test_low_rank_correction_starts_at_zero_and_is_stored():
    weight, found = solutions()
    latent = latent_weight(weight, found[0], rank=3)
    assert torch.allclose(latent.dense(), found[0].dense())
    _, _, directions = torch.linalg.svd(weight - found[0].dense())
    assert torch.allclose(
        (latent.right @ directions[:3].T / 40**0.5).abs().sort().values[:, -1], torch.ones(3), atol=1e-3
    )
    trained = latent._replace(left=torch.linspace(-0.2, 0.2, 30).view(10, 3))
    difference = trained.left @ trained.right
    assert torch.allclose(trained.dense() - latent.dense(), difference, atol=1e-6)
    stored = trained.solution()
    assert torch.allclose(stored.dense() - found[0].dense(), difference, atol=2e-3)
    assert stored.bits().total == found[0].bits().total + 16 * 3 * (10 + 40)
    assert torch.equal(trained.freeze().solution().dense(), stored.dense())


@pytest.mark.parametrize("hardness", [0.0, 0.25, 1.0])
def test_soft_weights_stand_between_the_clamped_latent_ones_and_the_codes(hardness):
    weight, found = solutions()
    latent = latent_weight(weight, found[0])
    latent.latent.requires_grad_(True)
    soft = latent._replace(hardness=torch.tensor(hardness))
    spread = latent.scales.repeat_interleave(16, 1)[:, :40]
    values = (1 - hardness) * latent.latent.clamp(-1, 1) + hardness * found[0].trits[0]
    assert torch.allclose(soft.dense(), spread * values, atol=1e-6)
    soft.dense().sum().backward()
    assert torch.allclose(latent.latent.grad, spread)  # straight through, beyond the clamp too
    assert torch.equal(soft.solution().trits, found[0].trits)


def test_training_step_compiles_once(tiny):
    counter = CompileCounter()
    function = torch.compile(block_function(tiny.model, True, False), backend=counter, fullgraph=True, dynamic=False)
    block = blocks(tiny.model)[0]
    weights = tuple(
        latent_weight(linear.module.weight, rtn.solve(linear.module.weight, None, rtn.Options(group=16)))
        for linear in block_linears(block, 0)
    )
    hardness = torch.zeros(())
    tensors = block_tensors(block)._replace(weights=weights).soften(hardness)
    hidden, tables = embed(tiny.model, torch.arange(30).view(2, 15)).detach(), rotary_tables(tiny.model, 15)
    seen = set()
    for step in range(3):
        hardness.fill_(step / 2)
        seen.add(function(hidden, *tables, tensors).sum().item())
    assert len(seen) == 3  # another hardness gives other outputs
    assert counter.frame_count == 1


def test_negative_scales_turn_their_codes():
    weight, found = solutions()
    latent = latent_weight(weight, found[0])
    turned = latent._replace(scales=-latent.scales)
    assert torch.allclose(turned.solution().dense(), -found[0].dense())


def test_power_of_two_scales_are_shifts_of_one_scale_per_row():
    _, found = solutions()
    assert found[2].scale_kind == "pow2"  # which LinearSolution checks on construction
    assert found[2].bits().scale < found[0].bits().scale
