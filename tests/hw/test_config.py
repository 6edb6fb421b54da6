"""Array configs: derived figures by hand, and refusal of what cannot work with the field, the value and the way out."""

import math

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hw.config import ArrayConfig, array_names, load_array, required_accumulator_bits
from hw.errors import InputError

FIELDS = {"name": "t", "rows": 8, "cols": 8}


def write(folder, **fields):
    path = folder / "a.yaml"
    path.write_text(yaml.safe_dump(fields))
    return str(path)


@given(st.integers(1, 200_000))
def test_accumulator_holds_the_extreme_sums_and_not_a_bit_more(k):
    bits = required_accumulator_bits(k)
    assert -(2 ** (bits - 1)) <= -127 * k
    assert 127 * k <= 2 ** (bits - 1) - 1
    assert 127 * k > 2 ** (bits - 2) - 1


@given(st.integers(11, 40))
def test_max_k_is_the_last_that_fits(bits):
    config = ArrayConfig(**FIELDS | {"accumulator_bits": bits})
    assert 127 * config.max_k <= 2 ** (bits - 1) - 1 < 127 * (config.max_k + 1)


def test_figures_of_a_tile_by_hand():
    config = ArrayConfig(name="t", rows=10, cols=3, packing="5in8", weight_bus_bits=16, chain_lanes=4)
    assert config.tile_bytes == 6  # 30 trits, five per byte
    assert config.weight_beats == 3
    assert config.chains == 3  # 4 + 4 + 2 lanes
    assert config.tree_levels == 2
    assert config.column_stages == 5  # four of the chain, one of two tree levels
    assert config.pipeline_latency == 7
    assert config.result_queue_depth == 9


def test_figures_of_a_systolic_grid_by_hand():
    config = ArrayConfig(name="t", rows=6, cols=3, organisation="systolic", token_tile=6)
    assert config.pipeline_latency == 7  # vector, skew of three columns, accumulator, readout, queue, transfer
    assert config.result_queue_depth == 14  # what flows meanwhile and the six results of an issue


@pytest.mark.parametrize(("token_tile", "chain"), [(64, 1), (8, 2)])
def test_a_systolic_grid_holds_a_token_per_row(token_tile, chain):
    message = (
        rf"token_tile must be rows = 8 and chain_lanes 1 where organisation is systolic, not {token_tile} and {chain}"
    )
    with pytest.raises(ValueError, match=message):
        ArrayConfig(**FIELDS, organisation="systolic", token_tile=token_tile, chain_lanes=chain)


@given(st.integers(1, 64), st.integers(1, 8), st.integers(1, 4))
def test_tree_levels_reduce_the_chains(rows, chain, per_register):
    config = ArrayConfig(name="t", rows=rows, cols=1, chain_lanes=min(chain, rows), adders_per_register=per_register)
    chains = math.ceil(rows / config.chain_lanes)
    assert 2**config.tree_levels >= chains > 2 ** (config.tree_levels - 1) or chains == 1
    assert config.pipeline_latency == config.chain_lanes + math.ceil(config.tree_levels / per_register) + 2


def test_size_as_name_gives_a_bus_of_about_eight_beats():
    config = load_array("8x8")
    assert (config.rows, config.cols, config.weight_beats) == (8, 8, 8)


@pytest.mark.parametrize("name", array_names())
def test_shipped_arrays_load(name):
    assert load_array(name).name == name


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(InputError, match=r"^array must be RxC \(e\.g\. 8x8\), one of edge-32x32.*, not 'nope'$"):
        load_array("nope")


@pytest.mark.parametrize("name", ["0x4", "4x0", "1025x1"])
def test_size_out_of_range_is_refused(name):
    with pytest.raises(InputError, match=rf"^array size must be 1x1 to 1024x1024, not {name}$"):
        load_array(name)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rows": 0}, r"field 'rows' should be greater than or equal to 1, not 0$"),
        ({"cols": -3}, r"field 'cols' should be greater than or equal to 1, not -3$"),
        ({"rows": "many"}, r"field 'rows' should be a valid integer.*, not 'many'$"),
        ({"packing": "3bit"}, r"field 'packing' should be '2bit' or '5in8', not '3bit'$"),
        ({"mac": "int4"}, r"field 'mac' should be 'ternary', 'int8', 'fp16', 'w4a8', 'w2a8' or 'w4a16', not 'int4'$"),
        ({"weight_bus_bits": 12}, r"field 'weight_bus_bits' should be a multiple of 8, not 12$"),
        ({"token_tile": 0}, r"field 'token_tile' should be greater than or equal to 1, not 0$"),
        ({"wings": 2}, r"unknown field 'wings' = 2; known fields: name, description, "),
        ({"accumulator_bits": 10}, r"accumulator_bits must be at least 11 for a tile of 8 lanes, not 10$"),
        ({"chain_lanes": 9}, r"chain_lanes must be at most rows = 8, not 9$"),
        ({"planes": 6}, r"field 'planes' should be less than or equal to 5, not 6$"),
        ({"digits": True}, r"planes must be 2 to 5 where digits is true, not 1$"),
        (
            {"digits": True, "planes": 5, "accumulator_bits": 17},
            r"accumulator_bits must be at least 18 for a tile of 8 lanes in 5 digits, not 17$",
        ),
        ({"lane_loading": True, "organisation": "systolic"}, r"lane_loading must keep its default but for mac ternary"),
        ({"weight_buffer_bytes": 31}, r"weight_buffer_bytes must hold two tiles \(2 x 16 bytes\), not 31$"),
    ],
)
def test_faulty_fields_are_named_with_file_value_and_what_is_allowed(tmp_path, fields, message):
    path = write(tmp_path, **FIELDS | fields)
    with pytest.raises(InputError, match=f"^{path}: {message}"):
        load_array(path)


def test_missing_field_is_named(tmp_path):
    with pytest.raises(InputError, match=r"a\.yaml: field 'cols' is missing$"):
        load_array(write(tmp_path, name="t", rows=2))


def test_a_k_that_could_overflow_is_refused_with_both_widths():
    config = ArrayConfig(**FIELDS | {"accumulator_bits": 16})
    config.check_k(258, "q_proj")
    with pytest.raises(
        InputError,
        match=r"^q_proj: K = 259 needs accumulator_bits of at least 17, not 16 of array 't' \(good for K <= 258\)$",
    ):
        config.check_k(259, "q_proj")


def test_the_description_does_not_change_the_hardware_and_the_size_does():
    config = ArrayConfig(**FIELDS)
    assert config.sha256 == ArrayConfig(**FIELDS | {"description": "other words"}).sha256
    assert config.sha256 != ArrayConfig(**FIELDS | {"rows": 9}).sha256


@pytest.mark.parametrize("deep", [False, True])
def test_a_copy_with_another_field_has_a_hash_of_its_own(deep):
    config = ArrayConfig(**FIELDS)
    before = config.sha256
    slower = config.model_copy(update={"clock_hz": 5e8}, deep=deep)
    assert slower == ArrayConfig(**FIELDS | {"clock_hz": 5e8})
    assert slower.sha256 == ArrayConfig(**FIELDS | {"clock_hz": 5e8}).sha256 != before
    assert config.sha256 == before


@pytest.mark.parametrize(("digits", "weight"), [(2, 4), (3, 13), (4, 40), (5, 121)])
def test_the_accumulator_holds_the_largest_sums_of_digits_and_of_no_more(digits, weight):
    config = ArrayConfig(**FIELDS | {"planes": 5, "digits": True, "accumulator_bits": 20})
    largest = config.max_k_of(digits, digits=True)
    assert 127 * weight * largest < 2**19 <= 127 * weight * (largest + 1)
    config.check_k(largest, "scores", digits)
    message = rf"^scores: K = {largest + 1} in {digits} digits needs accumulator_bits of at least 21, not 20 of array"
    with pytest.raises(InputError, match=message):
        config.check_k(largest + 1, "scores", digits)
    assert config.max_k_of(digits) == config.max_k // digits


@pytest.mark.parametrize(
    ("planes", "digits", "stages"), [(1, 0, 0), (2, 0, 0), (2, 1, 1), (3, 1, 2), (4, 1, 2), (5, 1, 3)]
)
def test_digits_take_their_adders_registers(planes, digits, stages):
    config = ArrayConfig(**FIELDS | {"planes": planes, "digits": bool(digits)})
    assert config.pipeline_latency == ArrayConfig(**FIELDS).pipeline_latency + stages


def test_options_that_an_array_does_not_use_leave_its_hash():
    """Pinned before there were digits: bitstreams of older arrays still answer with the hash of their config."""
    assert ArrayConfig(**FIELDS).sha256 == "69956fab83e0a0afcc883e7873025d627bd9811ee491b872691cf112fe40ba6a"
    assert ArrayConfig(**FIELDS | {"lane_loading": True}).sha256 != ArrayConfig(**FIELDS).sha256
