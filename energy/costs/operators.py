"""Energy of one multiply-accumulate of an array, built from operators, with the recipe in words."""

from typing import NamedTuple

from energy.costs.tables import ZERO, Cost, OpTable
from hw.arithmetics import ARITHMETICS, VectorMac
from hw.config import ArrayConfig

__all__ = ["MacCost", "PaperRecipe", "mac_cost", "paper_recipes", "tree_adder_bits"]


class MacCost(NamedTuple):
    """Energy per MAC in J with random operands in every lane, and what it is made of."""

    energy: Cost
    recipe: str


class PaperRecipe(NamedTuple):
    """One way in which the literature, or a careful reader, computes "compute energy saved"."""

    name: str
    table: str
    baseline_j: float
    ternary_j: float

    @property
    def reduction(self) -> float:
        """1 - ternary / baseline."""
        return 1 - self.ternary_j / self.baseline_j


def tree_adder_bits(rows: int, term_bits: int) -> list[int]:
    """Widths of the adders of a tree over ``rows`` terms: each level's sums are one bit wider than its inputs."""
    widths, terms, bits = [], rows, term_bits
    while terms > 1:
        bits += 1
        widths += [bits] * (terms // 2)
        terms = (terms + 1) // 2
    return widths


def mac_cost(array: ArrayConfig, table: OpTable) -> MacCost:
    """Energy of one lane's share of a column: its product or selection, its tree adder, its part of the accumulator.

    A tree over R lanes has R - 1 adders and one accumulator adder per R MACs; a processing element of a systolic grid
    has an accumulator adder of its own. Integer adders are costed at their own widths, FP16 products summed in FP32; a
    product with a narrower weight takes its share of the partial products of int8 x int8 (derived).
    """
    rows, arithmetic = array.rows, array.arithmetic
    share = "" if arithmetic.product_share == 1 else f"{arithmetic.product_share:g} x "
    parts: list[str] = [f"{share}{name}" for name in arithmetic.product_ops]
    total = sum(map(table.op, arithmetic.product_ops), ZERO).scaled(arithmetic.product_share)
    if arithmetic.term_bits is None:
        return MacCost(total, " + ".join(parts))
    if array.structure.outputs_stationary:
        total = total + table.integer_add(array.accumulator_bits)
        return MacCost(total, " + ".join([*parts, f"{array.accumulator_bits}-bit accumulator adder"]))
    widths = tree_adder_bits(rows, arithmetic.term_bits)
    tree = sum(map(table.integer_add, widths), ZERO)
    total = (tree + table.integer_add(array.accumulator_bits)).scaled(1 / rows) + total
    parts += [f"{min(widths)}..{max(widths)}-bit tree adders"] if widths else []
    return MacCost(total, " + ".join([*parts, f"1/{rows} of a {array.accumulator_bits}-bit accumulator"]))


def vector_mac_cost(mac: VectorMac, table: OpTable) -> Cost:
    """Energy of a multiply-accumulate on the vector unit: int8 with a 32-bit sum, or FP16 with an FP32 sum."""
    arithmetic = ARITHMETICS[mac]
    product = sum(map(table.op, arithmetic.product_ops), ZERO)
    return product if arithmetic.is_float else product + table.op("int32_add")


def paper_recipes(table: OpTable) -> list[PaperRecipe]:
    """The single-operator arithmetic that papers print, from this table: no tree, no registers, no memory."""
    j = {name: table.op(name).typical for name in table.ops_pj}
    rows = [
        ("INT8 mul + INT8 add -> INT8 add", j["int8_mul"] + j["int8_add"], j["int8_add"]),
        ("FP16 mul + FP16 add -> INT8 add (BitNet b1.58's comparison)", j["fp16_mul"] + j["fp16_add"], j["int8_add"]),
        ("INT8 mul + INT32 add -> INT32 add", j["int8_mul"] + j["int32_add"], j["int32_add"]),
        ("FP16 mul + FP32 add -> INT32 add", j["fp16_mul"] + j["fp32_add"], j["int32_add"]),
    ]
    return [PaperRecipe(name, table.name, baseline, ternary) for name, baseline, ternary in rows]
