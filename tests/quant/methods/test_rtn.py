"""Claims: absmean rounding as BitNet defines it, over a tensor, rows or groups with a short last one."""

import torch

from quant.methods.rtn import Options, solve


def test_tensor_scale_by_hand():
    weight = torch.tensor([[0.2, -1.0, 0.6], [-0.1, 0.0, 1.1]])  # mean magnitude 0.5
    solution = solve(weight, None, Options(scale="tensor"))
    assert solution.trits[0].tolist() == [[0, -1, 1], [0, 0, 1]]
    assert torch.equal(solution.dense(), solution.trits[0].float() * 0.5)


def test_groups_have_their_own_means_and_the_last_is_short():
    weight = torch.tensor([[1.0, 3.0, 10.0, 30.0, 5.0]])
    solution = solve(weight, None, Options(group=2))
    assert solution.scales[0, 0].tolist() == [2.0, 20.0, 5.0]
    assert solution.trits[0, 0].tolist() == [0, 1, 0, 1, 1]  # 0.5 rounds to even


def test_rows_and_zero_weights():
    solution = solve(torch.tensor([[0.0, 0.0], [2.0, -2.0]]), None, Options(scale="row"))
    assert solution.dense().tolist() == [[0.0, 0.0], [2.0, -2.0]]
