"""Energy per MAC: recipes recomputed by hand, and the literature's figures reproduced from their own table."""

import pytest

from energy.costs.operators import mac_cost, paper_recipes, tree_adder_bits
from energy.costs.tables import load_costs
from hw.config import load_array

HOROWITZ = load_costs("horowitz-45nm")


def test_tree_of_four_lanes_has_two_narrow_adders_and_one_wider():
    assert tree_adder_bits(4, 8) == [9, 9, 10]


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 7, 32, 33])
def test_a_tree_over_r_lanes_has_r_minus_1_adders(rows):
    assert len(tree_adder_bits(rows, 8)) == rows - 1


def test_ternary_mac_of_four_lanes_by_hand(close):
    def adder(bits):  # pJ, line through 0.03 at 8 bits and 0.1 at 32 bits
        return 0.03 + 0.07 * (bits - 8) / 24

    expected_pj = (adder(9) + adder(9) + adder(10) + adder(24)) / 4
    assert mac_cost(load_array("4x4"), HOROWITZ).energy.typical == close(expected_pj * 1e-12)


def test_int8_mac_adds_the_multiplier_and_wider_adders(close):
    def adder(bits):
        return 0.03 + 0.07 * (bits - 8) / 24

    expected_pj = 0.2 + (adder(17) + adder(17) + adder(18) + adder(32)) / 4
    cost = mac_cost(load_array("4x4").baseline("int8"), HOROWITZ)
    assert cost.energy.typical == close(expected_pj * 1e-12)
    assert cost.recipe.startswith("int8_mul + ")


@pytest.mark.parametrize(("mac", "weight_bits"), [("w4a8", 4), ("w2a8", 2)])
def test_a_narrow_weight_takes_its_share_of_the_multiplier_and_narrower_adders(close, mac, weight_bits):
    def adder(bits):
        return 0.03 + 0.07 * (bits - 8) / 24

    term = 8 + weight_bits
    expected_pj = 0.2 * weight_bits / 8 + (2 * adder(term + 1) + adder(term + 2) + adder(32)) / 4
    cost = mac_cost(load_array("4x4").baseline(mac), HOROWITZ)
    assert cost.energy.typical == close(expected_pj * 1e-12)
    assert cost.recipe.startswith(f"{weight_bits / 8:g} x int8_mul + ")


def test_fp16_mac_is_one_multiply_and_one_fp32_add(close):
    assert mac_cost(load_array("4x4").baseline("fp16"), HOROWITZ).energy.typical == close(2.0e-12)


def test_published_91_percent_is_int8_against_int8_add_at_7_nm(close):
    recipes = {recipe.name: recipe.reduction for recipe in paper_recipes(load_costs("bitnet-7nm"))}
    assert recipes["INT8 mul + INT8 add -> INT8 add"] == close(1 - 0.007 / 0.077)


def test_published_71x_of_bitnet_b158_is_reproduced(close):
    recipes = {recipe.name: recipe.reduction for recipe in paper_recipes(load_costs("bitnet-7nm"))}
    ratio = 1 / (1 - recipes["FP16 mul + FP16 add -> INT8 add (BitNet b1.58's comparison)"])
    assert ratio == pytest.approx(71.4, abs=0.05)


def test_an_element_of_a_grid_pays_its_whole_accumulator(close):
    """24-bit adder of the 45 nm table, 0.03 + 0.07 * 16 / 24 pJ; the tree of 32 lanes is narrower and cheaper."""
    table = load_costs("horowitz-45nm")
    grid = load_array("edge-32x32").reorganised("systolic")
    assert mac_cost(grid, table).energy.typical == close((0.03 + 0.07 * 16 / 24) * 1e-12)
    assert mac_cost(grid.baseline("int8"), table).energy.typical == close((0.2 + 0.1) * 1e-12)
    assert mac_cost(load_array("edge-32x32"), table).energy.typical < mac_cost(grid, table).energy.typical


def test_each_recipe_of_the_papers_by_hand(close):
    """45 nm in pJ: int8 add 0.03 and mul 0.2, int32 add 0.1, FP16 add 0.4 and mul 1.1, FP32 add 0.9."""
    found = {recipe.name: (recipe.baseline_j, recipe.ternary_j) for recipe in paper_recipes(HOROWITZ)}
    assert found == {
        "INT8 mul + INT8 add -> INT8 add": (close(0.23e-12), close(0.03e-12)),
        "FP16 mul + FP16 add -> INT8 add (BitNet b1.58's comparison)": (close(1.5e-12), close(0.03e-12)),
        "INT8 mul + INT32 add -> INT32 add": (close(0.3e-12), close(0.1e-12)),
        "FP16 mul + FP32 add -> INT32 add": (close(2.0e-12), close(0.1e-12)),
    }
    (first, *_) = paper_recipes(HOROWITZ)
    assert (first.reduction, first.table) == (close(1 - 3 / 23), "horowitz-45nm")


@pytest.mark.parametrize("rows", [1, 2, 5, 32])
def test_recipes_name_what_they_add(rows):
    """Trees are named from their narrowest to their widest adder; one lane has none."""
    array = load_array("4x4").model_copy(update={"rows": rows})
    recipe = mac_cost(array, HOROWITZ).recipe
    levels = (rows - 1).bit_length()
    tree = f"9..{8 + levels}-bit tree adders + " if levels else ""
    assert recipe == f"{tree}1/{rows} of a 24-bit accumulator"
    grid = load_array("edge-32x32").reorganised("systolic")
    assert mac_cost(grid.baseline("w4a8"), HOROWITZ).recipe == "0.5 x int8_mul + 32-bit accumulator adder"
    assert mac_cost(grid.baseline("fp16"), HOROWITZ).recipe == "fp16_mul + fp32_add"
