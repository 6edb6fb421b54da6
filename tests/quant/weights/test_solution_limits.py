"""The last values of every field that a solution takes and the first that it refuses, and devices and rows apart."""

import dataclasses

import pytest
import torch

from hw.errors import InputError
from quant.weights.side_data import LowRank, Outliers
from quant.weights.solution import LinearSolution, StoredBits

TRITS = torch.tensor([[[1, -1, 0, 0, 1], [0, 0, -1, 1, 1]]], dtype=torch.int8)  # one plane, two rows, five columns


def solution(**fields):
    scales = torch.tensor([[[0.5, 0.25, 2.0], [1.0, 3.0, 0.0]]]).half()
    return LinearSolution(**{"trits": TRITS, "scales": scales, "group": 2, "scale_kind": "group"} | fields)


def test_sizes_and_shares():
    one = solution()
    assert (one.planes, one.n, one.k, one.groups) == (1, 2, 5, 3)
    assert one.zero_fraction == 0.4
    assert solution(group=5, scales=torch.ones(1, 2, 1).half()).groups == 1
    assert solution(group=9, scales=torch.ones(1, 2, 1).half()).groups == 1
    assert StoredBits(1, 20, 300, 4000, 50000, 600000).total == 654321


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"trits": TRITS.int()}, "trits must be int8"),
        ({"trits": TRITS[:, :0]}, "trits must be int8"),
        ({"trits": TRITS - 1}, r"trits must be in -1..1, not -2..0"),
        ({"trits": TRITS + 1}, r"trits must be in -1..1, not 0..2"),
        ({"trits": torch.full_like(TRITS, -128)}, r"trits must be in -1..1, not -128..-128"),
        ({"permutation": torch.tensor([0, 1, 2, 3])}, "each of the 5 columns once"),
        ({"permutation": torch.tensor([1, 2, 3, 4, 5])}, "each of the 5 columns once"),
        ({"offsets": torch.ones(2, 3).half(), "zeros": torch.zeros(2, 3).byte()}, "must not be given together"),
        ({"offsets": torch.ones(2, 2).half()}, r"offsets must be torch.float16 \(2, 3\)"),
        ({"zeros": torch.zeros(2, 3).byte()}, "zeros need tied planes"),
        ({"ratios": (0,)}, "ratios must be 1 positive integers"),
        ({"scales": torch.ones(1, 2, 3), "scale_kind": "row"}, "scales must be torch.float16"),
        ({"scales": -torch.ones(1, 2, 3).half(), "scale_kind": "pow2"}, "non-negative and of one plane"),
        ({"scales": torch.tensor([[[1.0, 0.75, 0.5]] * 2]).half(), "scale_kind": "pow2"}, "times powers of two"),
        ({"scales": torch.tensor([[[1.0, 1.0, 1.0], [1.0, 1.0, 2.0]]]).half(), "scale_kind": "tensor"}, "all be equal"),
        ({"trits": TRITS.abs(), "layout": "signs"}, "layout 'signs' must be one plane"),
        ({"layout": "zones"}, "layout 'zones' must have 6 planes, not 1"),
    ],
)
def test_what_is_refused(fields, message):
    with pytest.raises(InputError, match=message):
        solution(**fields)


def test_zero_points_of_tied_planes_are_0_to_3():
    bits, scales = torch.ones(2, 2, 5, dtype=torch.int8), torch.full((1, 2, 3), 0.5).half()
    fields = {"trits": bits, "scales": scales, "layout": "bits", "ratios": (2, 1)}
    taken = solution(**fields, zeros=torch.full((2, 3), 3).byte())
    assert taken.group_offsets().tolist() == [[-1.5] * 3] * 2
    assert taken.dense().tolist() == [[0.0] * 5] * 2
    with pytest.raises(InputError, match=r"values in 0..3, not 4"):
        solution(**fields, zeros=torch.full((2, 3), 4).byte())
    with pytest.raises(InputError, match="ratios must be 2 positive"):
        solution(**fields | {"ratios": (2, 1, 1)})
    assert solution(**fields | {"ratios": (1, 1)}).plane_scales().tolist() == [[[0.5] * 3] * 2] * 2


def test_scales_of_one_tensor_may_be_float32_of_others_not():
    scales = torch.full((1, 2, 1), 0.1)
    one = solution(scales=scales, group=None, scale_kind="tensor")
    assert one.bits().scale == 32
    assert solution(scales=scales.half(), group=None, scale_kind="tensor").bits().scale == 16
    assert torch.allclose(one.dense(), 0.1 * TRITS[0])


def test_power_of_two_scales_of_rows_with_zeros():
    scales = torch.tensor([[[8.0, 1.0, 0.5], [0.0, 0.0, 0.0]]]).half()
    one = solution(scales=scales, scale_kind="pow2")
    assert one.exponents().tolist() == [[0, 3, 4], [0, 0, 0]]
    assert one.bits().scale == 2 * 16 + 24  # six exponents of three bits are 18 bits
    same = solution(scales=torch.ones(1, 2, 3).half(), scale_kind="pow2")
    assert same.bits().scale == 2 * 16  # no exponent above zero takes no bits


def six_planes(**broken):
    """Column 0 salient, column 1 high in row 0, else low."""
    salient = torch.tensor([[1, 0, 0], [1, 0, 0]])
    high = torch.tensor([[0, 1, 0], [0, 0, 0]])
    low = 1 - salient - high
    planes = {"low": -low, "high": -high, "first": salient, "second": -salient, "in_high": high, "salient": salient}
    planes |= broken
    return torch.stack(list(planes.values())).to(torch.int8)


def zones(trits):
    return LinearSolution(trits, torch.ones(6, 2, 1).half(), None, "row", "zones", offsets=torch.zeros(2, 1).half())


@pytest.mark.parametrize(
    "broken",
    [
        {"low": torch.tensor([[0, 0, 0], [0, -1, -1]])},  # an ordinary weight without a sign
        {"low": torch.tensor([[1, 0, 1], [0, 1, 1]])},  # a sign on a salient weight
        {"high": torch.tensor([[0, 0, 0], [0, 0, 0]])},
        {"first": torch.tensor([[1, 0, 0], [0, 0, 0]])},
        {"second": torch.tensor([[1, 0, 0], [1, 1, 0]])},
        {"in_high": torch.tensor([[1, 1, 0], [0, 0, 0]]), "high": torch.tensor([[1, 1, 0], [0, 0, 0]])},
        {"salient": torch.tensor([[1, 0, 0], [0, 0, 0]]), "first": torch.tensor([[1, 0, 0], [0, 0, 0]]),
         "second": torch.tensor([[1, 0, 0], [0, 0, 0]]), "low": torch.tensor([[0, 0, 1], [1, 1, 1]])},
        {"salient": torch.tensor([[-1, 0, 0], [-1, 0, 0]])},
    ],
)  # fmt: skip
def test_zones_that_contradict_each_other_are_refused(broken):
    zones(six_planes())
    with pytest.raises(InputError, match="layout 'zones': every weight must have one sign"):
        zones(six_planes(**broken))


def test_bits_of_outliers_beside_a_permutation_by_hand():
    mask = torch.tensor([[True, False, False, False, False], [False, True, True, False, False]])
    codes = torch.where(mask, 7, 0).byte()
    outliers = Outliers(mask, codes, torch.ones(2).half(), torch.ones(2).byte())
    one = solution(outliers=outliers, permutation=torch.tensor([4, 3, 2, 1, 0]))
    # two rows of a byte of five trits; six scales; three outliers of a byte, of each row a scale, a zero point and a
    # bitmap of a byte; five columns of three bits in two bytes
    assert one.bits() == StoredBits(2 * 8 + 3 * 8, 6 * 16 + 2 * 16, 2 * 8, 2 * 8, 16)
    assert one.dense()[1].tolist() == [0.0, 3.0, 6.0, 6.0, 0.0]  # columns reversed; 7 - 1 where an outlier is
    with pytest.raises(InputError, match="cannot be taken apart"):
        one.split_rows([1, 1])


def test_permutations_of_one_and_two_columns_take_a_byte():
    for k in (1, 2):
        one = LinearSolution(
            torch.ones(1, 1, k, dtype=torch.int8), torch.ones(1, 1, 1).half(), None, "row", permutation=torch.arange(k)
        )
        assert one.bits().permutation == 8


@pytest.mark.parametrize("name", ["permutation", "outliers", "tensor"])
def test_rows_that_share_something_cannot_be_taken_apart(name):
    fields = {
        "permutation": {"permutation": torch.arange(5)},
        "outliers": {
            "outliers": Outliers(
                torch.zeros(2, 5, dtype=torch.bool),
                torch.zeros(2, 5).byte(),
                torch.ones(2).half(),
                torch.zeros(2).byte(),
            )
        },
        "tensor": {"scales": torch.ones(1, 2, 3).half(), "scale_kind": "tensor"},
    }[name]
    with pytest.raises(InputError, match="cannot be taken apart"):
        solution(**fields).split_rows([1, 1])


def test_rows_taken_apart_keep_their_offsets():
    one = solution(offsets=torch.arange(6).view(2, 3).half())
    parts = one.split_rows([1, 1])
    assert torch.equal(torch.cat([part.dense() for part in parts]), one.dense())
    again = one.to(torch.device("cpu"))
    assert all(
        torch.equal(before, getattr(again, field.name))
        for field in dataclasses.fields(one)
        if isinstance(before := getattr(one, field.name), torch.Tensor)
    )
    assert LowRank(torch.ones(2, 3).half(), torch.ones(3, 5).half()).rank == 3
