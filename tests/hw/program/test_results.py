"""What a program takes of a memory: sizes by hand, the longest context, rows that replace their own."""

import pytest

from hw.config import load_array
from hw.errors import InputError
from hw.program.compiler import compiled
from hw.program.machine import machine_around
from hw.program.results import ImageSize, add_size, image_size, images_markdown, read_sizes
from tests.hw.token.random_models import random_model

FORM = {"table_digits": 3, "key_digits": 4, "value_digits": 3, "block": 16, "rotate": False}
ABOUT = {"model": "m", "method": "digits", "options": {"digits": 2}, "embedding": "tiles", "form": FORM}


def size(**changed):
    known = {
        "model": "m", "method": "digits", "options": {"digits": 1}, "machine": "64 x 8, 4 lanes", "packing": "5in8",
        "embedding": "tiles", "table_digits": 1, "key_digits": 4, "value_digits": 3, "rotate": True, "vocabulary": 9,
        "context": 128, "block": 64, "image_bytes": 1_012_800, "table_bytes": 500_000, "rotary_bytes": 12_800,
        "kept_bytes": 115_200,
    }  # fmt: skip
    return ImageSize(**known | changed)


def test_the_longest_context_is_of_whole_blocks_with_their_rotary_rows():
    # a megabyte that is always there; per token 900 bytes of K and V and 100 of the rotary table
    assert size().tokens_in(1_000_000 + 64 * 1000) == 64
    assert size().tokens_in(1_000_000 + 128 * 1000 - 1) == 64
    assert size().tokens_in(1_000_000 + 128 * 1000) == 128
    assert size().tokens_in(1_000_000 + 63 * 1000) == 0
    assert size(context=100, kept_bytes=115_200, rotary_bytes=10_000).token_bytes == 900  # two blocks all the same


def test_sizes_of_an_image_are_those_of_its_regions():
    model = random_model(2, layers=1, hidden=32, vocabulary=64)
    image = compiled(model, machine_around(load_array("8x8"), weight_packing="5in8", scratch_words=2048), "tiles")
    found = image_size(image, ABOUT)
    words = -(-3 * 64 * 32 // (5 * 8)) + 64 * 2 // 8  # trits, five a byte, eight bytes a word; scales of 16 bits
    assert found.table_bytes == 8 * words
    assert found.rotary_bytes == 24 * 8 * 2  # a context of 24, heads of 8
    assert found.image_bytes == len(image.memory)
    assert found.labels == (
        "m", "digits (digits=2)", "8 x 8, 2 lanes, 5in8 (scratch_words=2048)", "3", "tiles", "4 / 3, not rotated",
        f"24, blocks of {found.block}",
    )  # fmt: skip
    assert found.kept_bytes == image.header.memory_words * 8 - len(image.memory)


def test_a_row_takes_the_place_of_its_own(tmp_path):
    path = tmp_path / "sizes.json"
    for one in (size(), size(table_digits=2, image_bytes=90_000_000), size(image_bytes=2_000_000)):
        add_size(path, one)
    assert [one.image_bytes for one in read_sizes(path)] == [2_000_000, 90_000_000]
    assert images_markdown(path).splitlines()[-1].endswith("| does not fit | does not fit |")
    with pytest.raises(InputError, match=r"none\.json.*compile again: tritforge program MODEL --add"):
        read_sizes(tmp_path / "none.json")


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "absmean", "options": {}},
        {"options": {"digits": 2}},
        {"machine_options": {"scratch_words": 260}},
        {"rotate": False},
        {"context": 1024},
        {"block": 128},
    ],
)
def test_programs_of_other_options_stand_side_by_side_and_are_told_apart(changed, tmp_path):
    path = tmp_path / "sizes.json"
    for one in (size(), size(**changed), size(), size(**changed)):
        add_size(path, one)
    assert len(read_sizes(path)) == 2
    rows = images_markdown(path).splitlines()[2:]
    assert len({row.rsplit(" | ", 5)[0] for row in rows}) == 2  # without the numbers
