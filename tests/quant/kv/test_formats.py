"""Claims: every format is spelled and read back; bits by hand; what does not fit or is of another scheme is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hw.errors import InputError
from quant.kv.formats import KvFormat, checked_format, parse_kv

DIGITS = st.integers(1, 5)
FORMATS = st.one_of(
    st.fixed_dictionaries(
        {"scheme": st.just("digits"), "key_digits": DIGITS, "value_digits": DIGITS},
        optional={"rotate": st.booleans(), "past_only": st.booleans(), "levels": st.integers(1, 255)},
    ),
    st.fixed_dictionaries({"scheme": st.just("int8")}, optional={"rotate": st.booleans(), "past_only": st.booleans()}),
    st.fixed_dictionaries(
        {"scheme": st.just("wkvquant")},
        optional={"bits": st.integers(2, 8), "group": st.integers(1, 256), "past_only": st.booleans()},
    ),
    st.builds(
        lambda bits, group, times: {"scheme": "kivi", "bits": bits, "group": group, "residual": group * times},
        st.integers(2, 8),
        st.integers(1, 64),
        st.integers(1, 8),
    ),
)


@given(FORMATS)
def test_what_is_spelled_is_read_back(fields):
    form = KvFormat(**fields)
    assert parse_kv(form.spelled) == form
    assert KvFormat(**form.model_dump()) == form


def test_spellings():
    assert parse_kv("float") is None
    assert parse_kv("digits:4/3,rotate") == KvFormat(scheme="digits", key_digits=4, value_digits=3, rotate=True)
    assert parse_kv("digits:5") == KvFormat(scheme="digits", key_digits=5, value_digits=5)
    assert parse_kv("int8,past-only").past_only
    assert parse_kv("wkvquant") == KvFormat(scheme="wkvquant", bits=4, past_only=True)
    assert not parse_kv("wkvquant:4,past-only=0").past_only
    assert parse_kv("kivi:2").residual == 128
    assert (parse_kv("digits:3").levels, parse_kv("int8,levels=127").levels) == (255, 127)
    assert parse_kv("kivi:2,group=32,residual=128").spelled == "kivi:2"


def test_bits_by_hand():
    # 64 elements in 13 bytes a plane; 4 and 3 planes, on average 3.5; a 16-bit scale each.
    assert parse_kv("digits:4/3").bits_per_element(64, 2048) == 3.5 * 13 * 8 / 64 + 16 / 64
    assert parse_kv("int8").bits_per_element(128, 10) == 8.125
    # A scale and a minimum of 16 bits for every 32 channels.
    assert parse_kv("wkvquant:4,group=32").bits_per_element(64, 100) == 5
    # The first token of a window finds nothing but its own K and V, in full precision.
    assert parse_kv("kivi:2").bits_per_element(64, 1) == parse_kv("wkvquant:4,group=32").bits_per_element(64, 1) == 16
    # The last of 300 tokens finds 299: 256 of K quantized, 171 of V, the others in 16 bits.
    assert parse_kv("kivi:2").bits_per_element(64, 300) == pytest.approx((256 * 3 + 43 * 16 + 171 * 3 + 128 * 16) / 598)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("digit:4", r"^KV format must be such as .*, not 'digit:4'; did you mean 'digits'"),
        ("digits", r"^KV format 'digits': digits must be given for K and V, such as digits:4 or digits:4/3$"),
        ("digits:6", r"^KV format 'digits:6': key-digits should be less than or equal to 5, not '6'$"),
        ("digits:4/x", r"value-digits should be a valid integer"),
        ("digits:4,group=2", r"^KV format 'digits:4,group=2': digits has no option 'group'; its options: rotate"),
        ("kivi:2,rotate", r"kivi has no option 'rotate'; its options: bits, group, residual$"),
        ("kivi:2,residual=100", r"residual must be a multiple of the group of 32 tokens, not 100"),
        ("kivi:1", r"bits should be greater than or equal to 2, not '1'"),
        ("kivi:2,group", r"group needs a value, such as group=32$"),
        ("kivi:2,group=8,group=8", r"group is given twice$"),
        ("int8:7", r"int8 has one width; write int8$"),
        ("digits:3,levels=256", r"levels should be less than or equal to 255, not '256'$"),
        ("digits:3,rotate=yes", r"a switch must be 1 or 0, not 'yes'$"),
        ("float:3", r"^KV format must be such as"),
        ("", r"^KV format must be such as"),
    ],
)
def test_what_cannot_be_read_is_one_line(text, words):
    with pytest.raises(ValueError, match=words):
        parse_kv(text)


def test_options_of_another_scheme_are_refused_in_fields_too():
    with pytest.raises(ValueError, match=r"^manifest: int8 has no option bits, but rotate, past-only, levels$"):
        checked_format({"scheme": "int8", "bits": 4}, "manifest")


@pytest.mark.parametrize(
    ("text", "head", "words"),
    [
        ("digits:4,rotate", 63, "head size must be even to be rotated, not 63; leave out rotate"),
        ("digits:5", 546, "sums of 546 products of 5 digits may reach 8390382; they must stay below 8388608"),
        ("kivi:2", 80, "group must divide the head size 80, not 32; one of 1, 2, 4, 5, 8, 10, 16, 20, 40, 80 does"),
    ],
)
def test_heads_that_do_not_fit(text, head, words):
    with pytest.raises(InputError, match=words):
        parse_kv(text).check(head)


def test_heads_that_fit():
    for text, head in (("digits:5", 545), ("digits:3,rotate", 96), ("wkvquant:4", 80), ("kivi:4", 96)):
        parse_kv(text).check(head)
