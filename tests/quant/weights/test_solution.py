"""Claims: a solution's dense weights are the sum that the hardware forms, its bits are those counted by hand."""

import dataclasses

import pytest
import torch

from hw.errors import InputError
from quant.weights.side_data import LowRank, Outliers
from quant.weights.solution import LinearSolution, StoredBits, field_bits


def ternary(n=3, k=10, group=4, planes=1, **fields):
    generator = torch.Generator().manual_seed(0)
    trits = torch.randint(-1, 2, (planes, n, k), generator=generator, dtype=torch.int8)
    groups = 1 if group is None else -(-k // group)
    stored = 1 if fields.get("ratios") else planes
    scales = torch.rand(stored, n, groups, generator=generator).half()
    return LinearSolution(trits, scales, group, **{"scale_kind": "group", **fields})


def test_dense_is_the_sum_over_planes_groups_and_offsets_in_input_order():
    offsets = torch.arange(9).reshape(3, 3).half() / 8
    permutation = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    solution = ternary(planes=2, offsets=offsets, permutation=permutation)
    dense = solution.dense()
    for n in range(3):
        for c in range(10):
            expected = sum(float(solution.scales[p, n, c // 4]) * int(solution.trits[p, n, c]) for p in range(2))
            expected += float(offsets[n, c // 4])
            assert float(dense[n, permutation[c]]) == pytest.approx(expected, abs=1e-7)


def test_tied_planes_share_one_scale():
    solution = ternary(planes=2, ratios=(3, 1))
    codes = 3 * solution.trits[0].float() + solution.trits[1].float()
    scale = solution.scales[0].float()[:, torch.arange(10) // 4]
    torch.testing.assert_close(solution.dense(), codes * scale)


def test_outliers_replace_the_planes():
    mask = torch.zeros(3, 10, dtype=torch.bool)
    mask[1, 2] = True
    codes = torch.zeros(3, 10, dtype=torch.uint8)
    codes[1, 2] = 200
    outliers = Outliers(mask, codes, torch.full((3,), 0.5).half(), torch.full((3,), 100, dtype=torch.uint8))
    solution = ternary(outliers=outliers, offsets=torch.ones(3, 3).half())
    assert solution.dense()[1, 2] == 50.0
    assert solution.dense()[0, 2] != 50.0


def low_rank(n=3, k=10, rank=2):
    generator = torch.Generator().manual_seed(5)
    return LowRank(torch.randn(n, rank, generator=generator).half(), torch.randn(rank, k, generator=generator).half())


def test_a_low_rank_correction_is_added_in_the_order_of_the_inputs_whatever_the_columns():
    permutation = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    mask = torch.ones(3, 10, dtype=torch.bool)
    outliers = Outliers(mask, torch.ones(3, 10, dtype=torch.uint8), torch.ones(3).half(), torch.zeros(3).byte())
    correction = low_rank()
    for side in ({}, {"permutation": permutation}, {"outliers": outliers}):
        added = ternary(low_rank=correction, **side).dense() - ternary(**side).dense()
        for n in range(3):
            for k in range(10):
                expected = sum(float(correction.left[n, r]) * float(correction.right[r, k]) for r in range(2))
                assert float(added[n, k]) == pytest.approx(expected, abs=1e-5)


def test_rows_taken_apart_keep_their_part_of_the_correction():
    solution = ternary(low_rank=low_rank())
    parts = solution.split_rows([1, 2])
    torch.testing.assert_close(torch.cat([part.dense() for part in parts]), solution.dense())
    assert [part.bits().low_rank for part in parts] == [16 * 2 * (1 + 10), 16 * 2 * (2 + 10)]


def test_bits_of_a_ternary_linear_by_hand():
    # 3 rows of 10 trits = 2 bytes each; 3 groups of 16-bit scales per row.
    assert ternary().bits() == StoredBits(code=3 * 16, scale=3 * 3 * 16, offset=0, mask=0, permutation=0)
    assert ternary(group=None, scale_kind="row").bits().scale == 3 * 16
    assert ternary(planes=2).bits() == StoredBits(2 * 3 * 16, 2 * 3 * 3 * 16, 0, 0, 0)
    assert ternary(planes=2, ratios=(3, 1)).bits().scale == 3 * 3 * 16
    assert ternary(offsets=torch.zeros(3, 3).half()).bits().offset == 3 * 3 * 16
    assert ternary(permutation=torch.arange(10)).bits().permutation == 10 * 4
    corrected = ternary(low_rank=low_rank()).bits()  # factors of 3 x 2 and 2 x 10 numbers
    assert corrected.low_rank == 16 * (6 + 20)
    assert corrected.total - ternary().bits().total == 16 * (6 + 20)


def test_bits_of_per_tensor_and_power_of_two_scales_by_hand():
    same = torch.full((1, 3, 3), 0.25).half()
    assert dataclasses.replace(ternary(), scales=same, scale_kind="tensor").bits().scale == 16
    powers = torch.tensor([[1.0, 0.5, 0.125], [0.0, 0.0, 0.0], [3.0, 1.5, 0.75]])[None].half()
    solution = dataclasses.replace(ternary(), scales=powers, scale_kind="pow2")
    assert solution.exponents().tolist() == [[0, 1, 3], [0, 0, 0], [0, 1, 2]]
    assert solution.bits().scale == 3 * 16 + 24  # row scales, then 9 exponents of 2 bits padded to 3 bytes


def test_bits_of_two_bit_codes_by_hand():
    trits = torch.ones(2, 3, 10, dtype=torch.int8)
    zeros = torch.full((3, 3), 3, dtype=torch.uint8)
    solution = LinearSolution(trits, torch.ones(1, 3, 3).half(), 4, "group", layout="bits", ratios=(2, 1), zeros=zeros)
    # 2 planes of 3 rows of 10 bits = 2 bytes each; 9 zero points of 2 bits = 18 bits = 3 bytes.
    assert solution.bits() == StoredBits(2 * 3 * 16, 9 * 16, 24, 0, 0)
    torch.testing.assert_close(solution.dense(), torch.zeros(3, 10))  # code 3 minus zero point 3


def test_bits_of_signs_with_outliers_by_hand():
    mask = torch.zeros(3, 10, dtype=torch.bool)
    mask[0, :5] = True
    outliers = Outliers(mask, torch.zeros(3, 10, dtype=torch.uint8), torch.ones(3).half(), torch.zeros(3).byte())
    trits = torch.where(mask, 0, -1).to(torch.int8)[None]
    solution = LinearSolution(trits, torch.ones(1, 3, 1).half(), None, "row", layout="signs", outliers=outliers)
    # 25 signs = 4 bytes, 5 outliers of a byte; row scale + outlier scale; outlier zero; bitmap of 3 x 2 bytes.
    assert solution.bits() == StoredBits(32 + 40, 3 * 16 + 3 * 16, 3 * 8, 3 * 16, 0)


def test_bits_of_zones_by_hand():
    sign = torch.ones(3, 10, dtype=torch.int8)
    salient = torch.zeros(3, 10, dtype=torch.int8)
    salient[:, 7] = 1
    high = torch.zeros(3, 10, dtype=torch.int8)
    high[:, 2] = 1
    low = sign - salient - high
    trits = torch.stack([-low, high, salient, -salient, high, salient])
    solution = LinearSolution(
        trits, torch.ones(6, 3, 3).half(), 4, "group", layout="zones", offsets=torch.ones(3, 3).half()
    )
    # signs 3 x 2 bytes; second bitmap 3 x 2 bytes and 10 column bits = 2 bytes; 6 scales and an offset per group.
    assert solution.bits() == StoredBits(48, 6 * 9 * 16, 9 * 16, 48 + 16, 0)
    broken = trits.clone()
    broken[0, 0, 2] = 1  # also in the high zone
    with pytest.raises(InputError, match="layout 'zones'"):
        dataclasses.replace(solution, trits=broken)


def test_field_bits_pads_to_bytes():
    assert [field_bits(9, 2), field_bits(8, 1), field_bits(0, 3), field_bits(5, 0)] == [24, 8, 0, 0]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trits": torch.full((1, 3, 10), 2, dtype=torch.int8)}, "trits must be in -1..1, not 2..2"),
        ({"trits": torch.zeros(3, 10, dtype=torch.int8)}, "trits must be int8"),
        ({"scales": torch.ones(1, 3, 2).half()}, r"scales must be torch.float16 \(1, 3, 3\)"),
        ({"scales": torch.ones(1, 3, 3)}, "scales must be torch.float16"),
        ({"scales": torch.full((1, 3, 3), float("inf")).half()}, "scales must be finite"),
        ({"group": 0}, "group must be at least 1"),
        ({"group": None}, "scales must be"),
        ({"scale_kind": "row"}, "scales of kind 'row'"),
        ({"scale_kind": "tensor"}, "scales of kind 'tensor'"),
        ({"scale_kind": "pow2"}, "scales of kind 'pow2'"),
        ({"scale_kind": "pow2", "scales": torch.tensor([[[1.0, 0.0, 0.5]] * 3]).half()}, "scales of kind 'pow2'"),
        ({"permutation": torch.zeros(10, dtype=torch.long)}, "permutation must hold each of the 10 columns once"),
        ({"offsets": torch.ones(3, 3)}, "offsets must be torch.float16"),
        ({"layout": "bits"}, "planes of layout 'bits'"),
        ({"layout": "signs"}, "layout 'signs'"),
        ({"ratios": (1, 2)}, "ratios must be 1 positive"),
        ({"low_rank": low_rank(n=4)}, r"low-rank factors must be \(3, r\) and \(r, 10\), not \(4, 2\) and \(2, 10\)"),
    ],
)
def test_wrong_fields_are_named(fields, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(ternary(), **fields)


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (torch.ones(3, 2), torch.ones(2, 10).half(), "low-rank factor left must be torch.float16"),
        (torch.ones(3, 2).half(), torch.ones(3, 10).half(), r"low-rank factors must be \(n, r\) and \(r, k\)"),
        (torch.ones(3, 0).half(), torch.ones(0, 10).half(), "r of at least 1"),
        (torch.ones(3).half(), torch.ones(1, 10).half(), r"low-rank factors must be \(n, r\)"),
        (torch.ones(3, 1).half(), torch.full((1, 10), float("nan")).half(), "low-rank factor right must be finite"),
    ],
)
def test_wrong_low_rank_factors_are_named(left, right, message):
    with pytest.raises(InputError, match=message):
        LowRank(left, right)


def test_wrong_outliers_are_named():
    mask, codes = torch.zeros(3, 10, dtype=torch.bool), torch.ones(3, 10, dtype=torch.uint8)
    with pytest.raises(InputError, match="outlier codes must be 0 outside the mask"):
        Outliers(mask, codes, torch.ones(3).half(), torch.zeros(3).byte())
    outliers = Outliers(mask[:2], codes[:2] * 0, torch.ones(2).half(), torch.zeros(2).byte())
    with pytest.raises(InputError, match=r"outlier mask must be \(3, 10\), not \(2, 10\)"):
        ternary(outliers=outliers)
