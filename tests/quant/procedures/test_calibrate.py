"""Claims: Hessians are of the inputs that the quantized prefix gives, in one walk or apart; short texts are refused."""

import pytest
import torch

from hw.errors import InputError
from quant.llama.blocks import block_inputs, block_linears, blocks, int8_activations
from quant.procedures.calibrate import (
    block_hessians,
    calibration_blocks,
    forward_block,
    hessians_in_turn,
    token_windows,
)
from tests.quant.tiny import TEXT


def test_hessian_of_the_second_block_sees_the_changed_first(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 6, "words")
    hessians = {}
    for item in calibration_blocks(tiny.model, windows):
        hessians[item.layer] = block_hessians(tiny.model, item)
        if item.layer == 0:
            with torch.no_grad():
                for linear in item.linears:
                    linear.module.weight.copy_(linear.module.weight.sign() * 0.1)
    # Independent: the whole model, its first block already changed, run at once.
    with (
        torch.no_grad(),
        int8_activations(tiny.model),
        block_inputs(block_linears(blocks(tiny.model)[1], 1)) as seen,
    ):
        tiny.model(windows)
    for kind in ("q_proj", "v_proj", "o_proj", "up_proj", "down_proj"):
        x = seen[kind].flatten(0, 1).double()
        expected = (x.T @ x / len(x)).float()
        assert torch.allclose(hessians[1][kind], expected, rtol=1e-4, atol=1e-5 * float(expected.max()))


def test_one_walk_gives_what_separate_passes_give(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 6, "words")
    item = next(calibration_blocks(tiny.model, windows))
    expected = block_hessians(tiny.model, item)
    found = {}
    for hessians in hessians_in_turn(tiny.model, item):
        found |= hessians
    assert list(found) == list(expected)
    assert all(torch.equal(found[kind], expected[kind]) for kind in expected)
    assert torch.equal(item.outputs, forward_block(tiny.model, item.block, item.hidden, int8=True))


def test_later_inputs_of_a_walk_see_the_linears_replaced_before(tiny):
    windows = token_windows(tiny.tokenizer.encode(TEXT), 32, 6, "words")
    item = next(calibration_blocks(tiny.model, windows))
    before = block_hessians(tiny.model, item)
    walk = hessians_in_turn(tiny.model, item)
    first = next(walk)
    with torch.no_grad():
        item.block.self_attn.v_proj.weight.mul_(0.5)
    second = next(walk)
    assert torch.equal(first["q_proj"], before["q_proj"])
    assert torch.equal(second["o_proj"], block_hessians(tiny.model, item)["o_proj"])
    assert not torch.equal(second["o_proj"], before["o_proj"])


def test_too_short_text_names_the_numbers():
    assert token_windows(list(range(10)), 3, None, "t").tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    with pytest.raises(InputError, match="t: 4 windows of 3 tokens need 12 tokens, not 10"):
        token_windows(list(range(10)), 3, 4, "t")
    with pytest.raises(InputError, match="need 20 tokens, not 10"):
        token_windows(list(range(10)), 20, None, "t")
