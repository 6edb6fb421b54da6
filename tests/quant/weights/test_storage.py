"""Claims: the stored bytes are exactly the counted bits, and a linear that was stored reads back equal."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.errors import InputError
from hw.trit import pack
from quant.methods.sherry import keep_three
from quant.weights.side_data import LowRank, Outliers
from quant.weights.solution import LinearSolution
from quant.weights.storage import (
    LinearHeader,
    load_linear,
    read_covered,
    read_low_rank,
    read_offsets,
    read_scales,
    read_trits,
    store_linear,
)
from quant.weights.stored_arrays import check_arrays
from quant.weights.widths import index_bits

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


def mixed_case(partition=False):
    """Three groups: signs, 3-bit and 2-bit codes; or signs and, in the last group, 4-bit codes."""
    widths = (1, 4) if partition else (1, 3, 2)
    planes, group = (3, 14) if partition else (2, GROUP)
    rng = np.random.default_rng(5)
    width = np.repeat(widths, group)[:K]
    half = 1 << (width - 1)
    values = np.where(width == 1, rng.choice([-1, 1], (N, K)), rng.integers(-half, half, (N, K)))
    digits = []
    for power in [9, 3, 1][-planes:]:
        digits.append(np.rint(values / power).clip(-1, 1))
        values = values - power * digits[-1]
    ones = np.array(widths) == 1
    zeros = rng.integers(0, 1 << np.array(widths), (N, len(widths)))
    return LinearSolution(
        torch.from_numpy(np.stack(digits).astype(np.int8)),
        torch.rand(1, N, len(widths), generator=torch.Generator().manual_seed(3)).half(),
        group,
        "group",
        "mixed",
        ratios=(9, 3, 1)[-planes:],
        offsets=torch.from_numpy(rng.standard_normal((N, len(widths))) * ones).half(),
        zeros=torch.from_numpy(zeros * ~ones).byte(),
        permutation=torch.tensor([*range(0, 7), *range(9, 16), 7, 8, *range(16, 23)]) if partition else None,
        widths=widths,
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
    "three of four": LinearSolution(
        keep_three(torch.randn(N, K, generator=torch.Generator().manual_seed(6))).to(torch.int8)[None],
        random_scales(1),
        GROUP,
        "group",
        "three-of-four",
    ),
    "mixed": mixed_case(),
    "mixed, a partition": mixed_case(partition=True),
}


@pytest.mark.parametrize("name", CASES)
def test_stored_bytes_are_the_counted_bits(name):
    _, arrays = store_linear(CASES[name])
    bits = CASES[name].bits()
    names = {
        "code": ["codes", "outlier_codes"],
        "scale": ["scales", "exponents", "outlier_scale"],
        "offset": ["offsets", "zeros", "outlier_zero"],
        "mask": ["zones", "salient_columns", "outlier_mask", "widths"],
        "permutation": ["permutation", "partition"],
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


def test_mixed_codes_take_their_widths_and_a_partition_a_bit_per_column():
    """5 rows of 8 signs, 8 codes of 3 bits and 7 of 2: 46 bits in 6 bytes; 5 zero points of 3 + 2 bits in 4 bytes."""
    bits = CASES["mixed"].bits()
    assert (bits.code, bits.scale, bits.offset, bits.mask) == (5 * 48, 16 * 15, 16 * 5 + 32, 8)
    bits = CASES["mixed, a partition"].bits()  # 14 signs and 9 codes of 4 bits: 50 bits in 7 bytes
    assert (bits.code, bits.offset, bits.mask, bits.permutation) == (5 * 56, 16 * 5 + 24, 8, 24)


def test_mixed_weights_by_the_definition():
    """A sign times its scale, and its offset; ``scale * (code - zero)`` where codes have more bits."""
    solution = CASES["mixed"]
    header, arrays = store_linear(solution)
    stored = np.unpackbits(arrays["codes"], axis=1, bitorder="little")
    scales, offsets = solution.scales[0].float().numpy(), solution.offsets.float().numpy()
    for row in range(N):
        at, expected = 0, []
        for column in range(K):
            group = column // GROUP
            width = solution.widths[group]
            code = sum(int(stored[row, at + i]) << i for i in range(width))
            at += width
            if width == 1:
                expected.append(scales[row, group] * (1 - 2 * code) + offsets[row, group])
            else:
                expected.append(scales[row, group] * (code - int(solution.zeros[row, group])))
        np.testing.assert_allclose(solution.dense()[row].numpy(), expected, atol=1e-6)
    np.testing.assert_array_equal(read_covered(header, arrays), [[column >= GROUP for column in range(K)], [True] * K])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"widths": None}, "widths must be given with layout 'mixed'"),
        ({"widths": (1, 3)}, "widths must be one for each of the 3 groups"),
        ({"widths": (1, 5, 2)}, "must have a width of 1 to 4 bits"),
        ({"widths": (1, 2, 2), "zeros": None}, "digits must be those of a sign"),
        ({"ratios": (2, 1)}, r"must be digits worth \(3, 1\)"),
        ({"zeros": torch.full((N, 3), 3).byte()}, "zeros of layout 'mixed' must be codes"),
        ({"offsets": torch.ones(N, 3).half()}, "offsets of layout 'mixed' must be 0 but"),
    ],
)
def test_mixed_fields_that_do_not_fit_are_named(change, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(CASES["mixed"], **change)


def test_damaged_widths_are_named():
    header, arrays = store_linear(CASES["mixed"])
    with pytest.raises(InputError, match="array 'widths' is missing"):
        check_arrays(header, {name: one for name, one in arrays.items() if name != "widths"}, "linear")
    with pytest.raises(InputError, match=r"array 'codes' must be uint8 \(5, 4\), not uint8 \(5, 6\)"):
        check_arrays(header, arrays | {"widths": np.array([0b010000], np.uint8)}, "linear")


def test_a_code_of_three_of_four_by_hand():
    """+ - 0 -, and a rest of one column: place 2, signs 0 1 1; then a missing zero at place 3, and a minus."""
    trits = torch.tensor([[[1, -1, 0, -1, -1]]], dtype=torch.int8)
    solution = LinearSolution(trits, torch.ones(1, 1, 1).half(), None, "row", "three-of-four")
    first, second = 2 + 4 * 0b110, 3 + 4 * 0b001
    assert store_linear(solution)[1]["codes"].tolist() == [[(first + 32 * second) & 255, (first + 32 * second) >> 8]]
    for wrong in ([1, 1, 1, 1, 1], [1, 0, 0, 1, 1], [1, 0, 1, 1, 0]):
        with pytest.raises(InputError, match="layout 'three-of-four' must be one plane with one zero in any four"):
            dataclasses.replace(solution, trits=torch.tensor([[wrong]], dtype=torch.int8))


@pytest.mark.parametrize("side", ["left", "right"])
def test_one_factor_of_a_correction_without_the_other_is_refused(side):
    correction = LowRank(torch.ones(N, 2).half(), torch.ones(2, K).half())
    solution = dataclasses.replace(CASES["ternary"], low_rank=correction)
    header, arrays = store_linear(solution)
    assert read_low_rank(header, arrays) is not None
    del arrays[f"low_rank_{side}"]
    with pytest.raises(InputError, match=f"low_rank_{side}"):
        read_low_rank(header, arrays)
    del arrays[f"low_rank_{'right' if side == 'left' else 'left'}"]
    assert read_low_rank(header, arrays) is None


@pytest.mark.parametrize(("columns", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (256, 8), (257, 9)])
def test_an_index_has_bits_for_the_last_column(columns, bits):
    assert index_bits(columns) == bits
