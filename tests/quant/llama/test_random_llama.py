"""Random weights for benchmarks: normal with GPT-2's deviations, repeated by seed, norms of ones."""

import pytest
import torch

from quant.llama.blocks import must_stream
from quant.llama.loading import random_llama
from quant.shapes import load_shape

SHAPE = load_shape("stories260K")  # five layers


def test_deviations_are_002_and_less_by_the_root_of_twice_the_layers_where_a_block_writes():
    model = random_llama(SHAPE, torch.device("cpu"), seed=3)
    for name, parameter in model.named_parameters():
        assert parameter.dtype == torch.bfloat16
        if parameter.ndim == 1:
            assert (parameter == 1).all()
        else:
            writes = name.endswith(("o_proj.weight", "down_proj.weight"))
            expected = 0.02 / 10**0.5 if writes else 0.02
            assert parameter.float().std().item() == pytest.approx(expected, rel=0.06)
            assert abs(parameter.float().mean().item()) < 0.1 * expected
    again, other = (random_llama(SHAPE, torch.device("cpu"), seed=seed) for seed in (3, 4))
    assert torch.equal(model.lm_head.weight, again.lm_head.weight)
    assert not torch.equal(model.lm_head.weight, other.lm_head.weight)


def test_a_model_whose_float32_weights_take_more_than_8_gib_is_streamed():
    def with_parameters(layers):
        return SHAPE.model_copy(
            update={
                "hidden_size": 1 << 14, "intermediate_size": 1 << 14, "heads": 128, "kv_heads": 128, "head_dim": 128,
                "vocab_size": 1, "layers": layers,
            }
        )  # fmt: skip

    # 2**31 weights of four bytes are 8 GiB; a layer of seven squares of 2**28 is 1.75 times 2**30
    assert not must_stream(with_parameters(1))
    assert must_stream(with_parameters(2))
    exact = SHAPE.model_copy(update={"vocab_size": (1 << 31) // 64, "hidden_size": 64})
    assert must_stream(exact)  # with the linears beside a table of 2**31
