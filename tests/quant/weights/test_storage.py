"""Claims: the stored bytes are exactly the counted bits, and a linear that was stored reads back equal."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.errors import InputError
from hw.trit import pack
from quant.weights.side_data import LowRank, Outliers
from quant.weights.solution import LinearSolution
from quant.weights.storage import LinearHeader, load_linear, read_offsets, read_scales, read_trits, store_linear
from quant.weights.stored_arrays import check_arrays

N, K, GROUP = 5, 23, 8


def random_trits(planes, low=-1):
    return torch.from_numpy(np.random.default_rng(planes).integers(low, 2, (planes, N, K)).astype(np.int8))


def random_scales(planes):
    return torch.rand(planes, N, 3, generator=torch.Generator().manual_seed(planes)).half()


def outlier_case():
    generator = torch.Generator().manual_seed(7)
    mask = torch.rand(N, K, generator=generator) < 0.2
    codes = torch.where(mask, torch.randint(0, 256, (N, K), generator=generator), 0).byte()
    signs = torch.where(torch.rand(N, K, generator=generator) < 0.5, -1, 1).masked_fill(mask, 0).to(torch.int8)
    outliers = Outliers(mask, codes, torch.rand(N).half(), torch.full((N,), 9, dtype=torch.uint8))
    return LinearSolution(
        signs[None],
        torch.rand(1, N, 1).half(),
        None,
        "row",
        "signs",
        offsets=torch.rand(N, 1).half(),
        outliers=outliers,
    )


def zone_case():
    rng = np.random.default_rng(3)
    sign, second = (rng.choice([-1, 1], (N, K)) for _ in range(2))
    salient = np.broadcast_to(rng.random(K) < 0.2, (N, K))
    high = (rng.random((N, K)) < 0.4) & ~salient
    low = ~high & ~salient
    planes = np.stack([sign * low, sign * high, sign * salient, second * salient, high, salient]).astype(np.int8)
    return LinearSolution(
        torch.from_numpy(planes), random_scales(6), GROUP, "group", "zones", offsets=random_scales(1)[0]
    )


CASES = {
    "ternary": LinearSolution(random_trits(1), random_scales(1), GROUP, "group"),
    "row": LinearSolution(random_trits(1), random_scales(1)[..., :1], None, "row"),
    "tensor": LinearSolution(random_trits(1), torch.full((1, N, 3), 0.3).half(), GROUP, "tensor"),
    "pow2": LinearSolution(
        random_trits(1), (torch.rand(1, N, 1).half() * torch.tensor([1.0, 0.125, 0.5])).half(), GROUP, "pow2"
    ),
    "offset and permutation": LinearSolution(
        random_trits(1),
        random_scales(1),
        GROUP,
        "group",
        offsets=random_scales(1)[0],
        permutation=torch.randperm(K, generator=torch.Generator().manual_seed(1)),
    ),
    "two planes": LinearSolution(random_trits(2), random_scales(2), GROUP, "group"),
    "tied planes": LinearSolution(random_trits(2), random_scales(1), GROUP, "group", ratios=(3, 1)),
    "two bits": LinearSolution(
        random_trits(2, low=0),
        random_scales(1),
        GROUP,
        "group",
        "bits",
        ratios=(2, 1),
        zeros=torch.arange(N * 3).reshape(N, 3).remainder(4).byte(),
    ),
    "low rank": LinearSolution(
        random_trits(1),
        random_scales(1),
        GROUP,
        "group",
        permutation=torch.randperm(K, generator=torch.Generator().manual_seed(2)),
        low_rank=LowRank(torch.randn(N, 3).half(), torch.randn(3, K).half()),
    ),
    "signs with outliers": outlier_case(),
    "zones": zone_case(),
}


@pytest.mark.parametrize("name", CASES)
def test_stored_bytes_are_the_counted_bits(name):
    _, arrays = store_linear(CASES[name])
    bits = CASES[name].bits()
    names = {
        "code": ["codes", "outlier_codes"],
        "scale": ["scales", "exponents", "outlier_scale"],
        "offset": ["offsets", "zeros", "outlier_zero"],
        "mask": ["zones", "salient_columns", "outlier_mask"],
        "permutation": ["permutation"],
        "low_rank": ["low_rank_left", "low_rank_right"],
    }
    for part, members in names.items():
        assert sum(8 * arrays[m].nbytes for m in members if m in arrays) == getattr(bits, part), part
    assert sum(8 * array.nbytes for array in arrays.values()) == bits.total


@pytest.mark.parametrize("name", CASES)
def test_a_stored_linear_reads_back_equal(name):
    solution = CASES[name]
    header, arrays = store_linear(solution)
    again = load_linear(type(header).model_validate_json(header.model_dump_json()), arrays)
    for field in dataclasses.fields(solution):
        before, after = getattr(solution, field.name), getattr(again, field.name)
        if isinstance(before, torch.Tensor):
            assert torch.equal(before, after), field.name
        elif isinstance(before, (Outliers, LowRank)):
            for part in dataclasses.fields(before):
                assert torch.equal(getattr(before, part.name), getattr(after, part.name)), part.name
        else:
            assert before == after, field.name
    assert torch.equal(solution.dense(), again.dense())


@pytest.mark.parametrize("name", CASES)
def test_numpy_readers_agree_with_the_solution(name):
    solution = CASES[name]
    header, arrays = store_linear(solution)
    np.testing.assert_array_equal(read_trits(header, arrays), solution.trits.numpy())
    np.testing.assert_array_equal(read_scales(header, arrays), solution.scales.numpy())
    offsets = solution.group_offsets()
    if offsets is None:
        assert read_offsets(header, arrays) is None
    else:
        np.testing.assert_array_equal(read_offsets(header, arrays), offsets.numpy())


def test_first_weight_of_a_bitmap_is_bit_0():
    trits = torch.zeros(2, 1, 9, dtype=torch.int8)
    trits[0, 0, 0] = 1
    trits[1, 0, 8] = 1
    solution = LinearSolution(trits, torch.ones(1, 1, 1).half(), None, "row", "bits", ratios=(2, 1))
    assert store_linear(solution)[1]["codes"].tolist() == [[[1, 0]], [[0, 1]]]


def test_damaged_arrays_are_named():
    header, arrays = store_linear(CASES["zones"])
    with pytest.raises(InputError, match="array 'zones' is missing"):
        read_trits(header, {"codes": arrays["codes"]})
    with pytest.raises(InputError, match="a bitmap of 23 weights must be 3 bytes, not 2"):
        read_trits(header, arrays | {"codes": arrays["codes"][:, :2]})
    header, arrays = store_linear(CASES["two bits"])
    with pytest.raises(InputError, match="15 fields of 2 bits must be 4 bytes, not 3"):
        load_linear(header, arrays | {"zeros": arrays["zeros"][:3]})
    header, arrays = store_linear(CASES["low rank"])
    with pytest.raises(
        InputError, match=r"low-rank factors must be \(5, r\) and \(r, 23\), not \(5, 2\) and \(3, 23\)"
    ):
        load_linear(header, arrays | {"low_rank_left": arrays["low_rank_left"][:, :2]})
    del arrays["low_rank_right"]
    with pytest.raises(InputError, match="array 'low_rank_right' is missing"):
        load_linear(header, arrays)


@settings(max_examples=60, deadline=None)
@given(
    planes=st.integers(1, 3),
    n=st.integers(1, 5),
    k=st.integers(1, 40),
    group=st.one_of(st.none(), st.integers(1, 50)),
    seed=st.integers(0, 1000),
)
def test_any_shape_reads_back_equal_and_takes_its_bits(planes, n, k, group, seed):
    generator = torch.Generator().manual_seed(seed)
    groups = 1 if group is None else -(-k // group)
    solution = LinearSolution(
        torch.randint(-1, 2, (planes, n, k), generator=generator).to(torch.int8),
        torch.rand(planes, n, groups, generator=generator).half(),
        group,
        "row" if group is None else "group",
        permutation=torch.randperm(k, generator=generator),
    )
    header, arrays = store_linear(solution)
    assert sum(8 * array.nbytes for array in arrays.values()) == solution.bits().total
    again = load_linear(header, arrays)
    assert torch.equal(again.trits, solution.trits)
    assert torch.equal(again.permutation, solution.permutation)
    assert torch.equal(again.dense(), solution.dense())


@pytest.mark.parametrize("k", [1, 5, 23])
def test_trits_are_packed_as_the_hardware_reads_them(k):
    trits = torch.randint(-1, 2, (2, 7, k), generator=torch.Generator().manual_seed(k)).to(torch.int8)
    stored = LinearSolution(trits, torch.ones(2, 7, 1).half(), None, "row")
    assert np.array_equal(store_linear(stored)[1]["codes"], pack(trits.numpy(), "5in8"))


@pytest.mark.parametrize("name", ["ternary", "row", "tensor"])
def test_a_header_without_exponents_and_ratios_has_none(name):
    """So files say no more than they hold, and those of writers that know neither are read."""
    header, _ = store_linear(CASES[name])
    fields = header.model_dump(exclude={"exponent_bits", "ratios"})
    assert LinearHeader(**fields) == header
    assert (header.exponent_bits, header.ratios) == (0, None)


@pytest.mark.parametrize(
    "change", [lambda scales: scales.astype(np.int16), lambda scales: scales[:, :-1], lambda scales: scales[None]]
)
def test_an_array_of_another_type_or_of_another_shape_is_named(change):
    header, arrays = store_linear(CASES["ternary"])
    with pytest.raises(InputError, match=r"array 'scales' must be float16.*: the file is damaged"):
        check_arrays(header, arrays | {"scales": change(arrays["scales"])}, "linear")
    check_arrays(header, arrays, "linear")
    with pytest.raises(InputError, match=r"array 'more' has no place in layout"):
        check_arrays(header, arrays | {"more": arrays["scales"]}, "linear")
