"""Claims: linears with one input solved stacked give what each gives alone; the linear at fault is named."""

import pytest
import torch

from hw.errors import InputError
from quant.llama.blocks import block_linears, blocks
from quant.methods import gptq, pt_bitnet
from quant.procedures.linears import solve_linears
from quant.recording import INPUT_OF_KIND
from tests.quant.methods.problems import problem


def hessians():
    sizes = {"attention_in": 24, "attention_out": 24, "mlp_in": 24, "mlp_out": 40}
    found = {name: problem(4, k, tokens=300, seed=k)[2] for name, k in sizes.items()}
    return {kind: found[name] for kind, name in INPUT_OF_KIND.items()}


@pytest.mark.parametrize(
    ("method", "fields"),
    [(pt_bitnet, {}), (pt_bitnet, {"scales": "pow2", "group": 8}), (gptq, {"group": 8}), (gptq, {"levels": "2bit"})],
)
def test_stacked_linears_equal_each_alone(tiny, method, fields):
    options, wanted = method.Options(**fields), hessians()
    linears = block_linears(blocks(tiny.model)[0], 0)
    found = {linear.kind: solution for linear, solution in solve_linears(linears, wanted, method.solve, options)}
    assert set(found) == set(INPUT_OF_KIND)
    for linear in linears:
        alone = method.solve(linear.module.weight, wanted[linear.kind], options)
        assert torch.equal(found[linear.kind].trits, alone.trits)
        assert torch.equal(found[linear.kind].scales, alone.scales)
        assert (alone.zeros is None) == (found[linear.kind].zeros is None)
        assert alone.zeros is None or torch.equal(found[linear.kind].zeros, alone.zeros)


def test_attention_has_groups_of_its_own(tiny):
    linears, options = block_linears(blocks(tiny.model)[0], 0), pt_bitnet.Options(group=12, attention_group=8)
    found = {linear.kind: one for linear, one in solve_linears(linears, hessians(), pt_bitnet.solve, options)}
    attention = ("q_proj", "k_proj", "v_proj", "o_proj")
    assert {kind: one.group for kind, one in found.items()} == {k: 8 if k in attention else 12 for k in INPUT_OF_KIND}
    assert found["q_proj"].scales.shape[2] == 3
    assert found["gate_proj"].scales.shape[2] == 2


def test_linears_at_fault_are_named(tiny):
    linears = block_linears(blocks(tiny.model)[1], 1)
    with torch.no_grad():
        linears[5].module.weight[0, 0] = float("nan")
    with pytest.raises(InputError, match=r"model\.layers\.1\.mlp\.gate_proj, up_proj: weights must be finite"):
        list(solve_linears(linears, hessians(), pt_bitnet.solve, pt_bitnet.Options()))
