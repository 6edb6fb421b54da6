"""Claims: 2-bit parameters cover the row, the clip search is never worse, two binary planes give the codes back."""

import pytest
import torch

from quant.methods.two_bit import clip_search, min_max, quantize_codes, two_bit_solution


def test_min_max_covers_the_row_and_zero():
    weight = torch.tensor([[0.25, 1.5, 0.75], [-1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    scale, zero = min_max(weight)
    assert scale.tolist() == pytest.approx([0.5, 0.5, 2 / 3], abs=1e-3)
    assert zero.tolist() == [0, 2, 2]
    values = scale[:, None] * (quantize_codes(weight, scale[:, None], zero[:, None]) - zero[:, None])
    torch.testing.assert_close(values, torch.tensor([[0.0, 1.5, 1.0], [-1.0, 0.5, 0.0], [0.0, 0.0, 0.0]]))


def test_clip_search_finds_the_best_of_a_naive_loop():
    weight = torch.randn(4, 64, generator=torch.Generator().manual_seed(1)) ** 3

    def loss(row, scale, zero):
        return sum(abs(scale * (min(max(round(x / scale) + zero, 0), 3) - zero) - x) ** 2.4 for x in row)

    scale, zero = clip_search(weight)
    for n, row in enumerate(weight.tolist()):
        best = min(
            loss(row, s, round(-p * min(row) / s))
            for p in [1 - i / 100 for i in range(80)]
            for s in [float(torch.tensor(p * (max(row) - min(row)) / 3).half())]
        )
        assert loss(row, float(scale[n]), int(zero[n])) == pytest.approx(best, rel=1e-3)


def test_planes_give_the_codes_back():
    codes = torch.arange(4).repeat(3, 2)
    scales, zeros = torch.full((3, 2), 0.5), torch.tensor([[0.0, 1.0], [2.0, 3.0], [1.0, 1.0]])
    solution = two_bit_solution(codes, scales, zeros, 4)
    torch.testing.assert_close(solution.dense(), 0.5 * (codes - zeros.repeat_interleave(4, 1)))
    assert solution.bits().code == 2 * 3 * 8  # two bitmaps of 3 rows of one byte
