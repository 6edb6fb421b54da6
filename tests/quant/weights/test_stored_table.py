"""Claims: a table in digits is stored in the bits counted by hand, read back equal, and refused where it is damaged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as of_numpy

from hw.errors import InputError
from quant.weights.checkpoint import Checkpoint, join_checkpoints
from quant.weights.stored_table import StoredTable, read_table


def table(digits=2, vocabulary=7, n=12, seed=0) -> StoredTable:
    rng, limit = np.random.default_rng(seed), (3**digits - 1) // 2
    return StoredTable(
        rng.integers(-limit, limit + 1, (vocabulary, n)).astype(np.int8),
        digits,
        rng.random(vocabulary).astype(np.float16),
        rng.random(n).astype(np.float16),
        rng.normal(size=n).astype(np.float16),
    )


def equal(one: StoredTable, other: StoredTable) -> bool:
    names = ("codes", "rows", "spread", "mean")
    return one.digits == other.digits and all(np.array_equal(getattr(one, n), getattr(other, n)) for n in names)


@given(st.data())
def test_codes_of_any_digits_come_back_from_their_planes(data):
    digits, vocabulary, n = (data.draw(st.integers(1, most)) for most in (5, 6, 17))
    limit = (3**digits - 1) // 2
    codes = data.draw(of_numpy(np.int8, (vocabulary, n), elements=st.integers(-limit, limit)))
    made = StoredTable(codes, digits, *(np.ones(size, np.float16) for size in (vocabulary, n, n)))
    assert equal(read_table(made.arrays(), "here"), made)


def test_planes_hold_the_digits_highest_first_five_trits_a_byte():
    one = np.ones(1, np.float16)
    codes = np.array([[4, -4, 2, -1, 0]], np.int8)  # 4 = 1 1, -4 = -1 -1, 2 = 1 -1, -1 = 0 -1
    planes = StoredTable(codes, 2, one, *(np.ones(5, np.float16) for _ in range(2))).arrays()["codes"]
    high, low = ([1, -1, 1, 0, 0], [1, -1, -1, -1, 0])
    assert planes.tolist() == [[[sum((t + 1) * 3**i for i, t in enumerate(plane))]] for plane in (high, low)]


def test_bits_are_those_counted_by_hand():
    # 7 rows of 12 entries: 3 bytes a row and digit; a float16 per row; a spread and a mean per channel.
    assert table(digits=2).bits == 8 * (2 * 7 * 3) + 16 * (7 + 12 + 12)


def test_dense_is_the_sum_written_out():
    one, dense = table(), table().dense()
    for v in range(7):
        for c in range(12):
            wanted = float(one.rows[v]) * float(one.spread[c]) * int(one.codes[v, c]) + float(one.mean[c])
            assert dense[v, c] == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_a_checkpoint_gives_tables_back_in_digits_and_in_float16(tmp_path):
    digits, half = table(), np.arange(6).reshape(2, 3) / 8
    join_checkpoints(tmp_path / "t.safetensors", [], {}, {"embed_tokens": half, "lm_head": digits})
    found = Checkpoint(tmp_path / "t.safetensors").tables()
    assert list(found) == ["embed_tokens", "lm_head"]
    assert found["embed_tokens"].dtype == np.float16
    assert np.array_equal(found["embed_tokens"], half)
    assert equal(found["lm_head"], digits)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rows": None}, r"^here: arrays must be codes, rows, spread, mean; 'rows' is missing or too many$"),
        ({"more": np.ones(2)}, r"'more' is missing or too many$"),
        (
            {"rows": np.ones(8, np.float16)},
            r"^here: array 'codes' must be uint8 \(digits, 8, 3\), not uint8 \(2, 7, 3\)",
        ),
        ({"rows": np.ones(7, np.float32)}, r"^here: table rows must be finite float16 \(7,\), not float32 \(7,\)"),
        ({"mean": np.full(12, np.nan, np.float16)}, r"^here: table mean must be finite float16 \(12,\)"),
        ({"codes": np.zeros((6, 7, 3), np.uint8)}, r"^here: array 'codes' must hold at most 5 digits, not 6$"),
        ({"codes": np.full((2, 7, 3), 255, np.uint8)}, r"^here: 5-trits-per-byte values must be at most 242, not 255"),
        ({"codes": np.zeros((), np.uint8)}, r"^here: array 'codes' must be uint8 \(digits, 7, 3\), not uint8 \(\)"),
    ],
    ids=["missing", "unknown", "rows", "float32", "nan", "digits", "codes", "scalar"],
)
def test_damage_is_one_line(change, words):
    arrays = {name: value for name, value in (table().arrays() | change).items() if value is not None}
    with pytest.raises(InputError, match=words):
        read_table(arrays, "here")


@pytest.mark.parametrize(
    ("digits", "codes", "words"),
    [
        (0, np.zeros((2, 3), np.int8), "table digits must be 1 to 5, not 0"),
        (1, np.full((2, 3), 2, np.int8), r"table codes must be in -1\.\.1, not 2\.\.2"),
        (1, np.zeros((2, 3), np.int16), r"table codes must be int8 \(vocabulary, n\), not int16"),
    ],
)
def test_a_table_that_cannot_be_is_refused(digits, codes, words):
    with pytest.raises(InputError, match=words):
        StoredTable(codes, digits, *(np.ones(size, np.float16) for size in (2, 3, 3)))
