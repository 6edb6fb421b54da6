"""Linears of a trace: one op per format among the layers with the means of its layers, fused ones weighted by size."""

import pytest

from hw.errors import InputError
from quant.manifest import LinearEntry, Manifest
from quant.shapes import LINEAR_KINDS, ModelShape
from sim.execution import Execution
from sim.result import Statistics
from sim.trace.build import build_trace
from sim.trace.statistics import assumed_statistics

SHAPE = ModelShape(
    name="tiny", source="made up", hidden_size=12, intermediate_size=18, layers=3, heads=4, kv_heads=2, head_dim=3,
    vocab_size=21, max_positions=64,
)  # fmt: skip


def entry(layer, kind, **fields):
    n, k = SHAPE.linear(kind)
    values = {"group": 5, "scale_kind": "group", "zero_fraction": 0.4, "code_bits": 2 * n * k, "scale_bits": 48 * n}
    return LinearEntry(layer=layer, kind=kind, n=n, k=k, **values | fields)


def manifest(of_linear, shape=SHAPE):
    """``of_linear``: layer, kind -> fields; None leaves the linear out."""
    fields = {(layer, kind): of_linear(layer, kind) for layer in range(3) for kind in LINEAR_KINDS}
    linears = [entry(*where, **one) for where, one in fields.items() if one is not None]
    return Manifest(
        model="tiny", shape=shape, method="made up", options={}, packing="2bit", linears=linears, weights_sha256="0",
        source_sha256="0", calibration="none",
    )  # fmt: skip


def ops(one, fuse=False, statistics=None, phase=0):
    execution = Execution(fuse_projections=fuse)
    trace = build_trace(SHAPE, 5, 2, manifest=one, execution=execution, statistics=statistics)
    return [op for op in trace.phases[phase].ops if op.kind == "linear"]


def only(name, *arguments, **keywords):
    (op,) = (op for op in ops(*arguments, **keywords) if op.name == name)
    return op


def test_layers_of_one_format_share_an_op_with_their_means():
    """Zero fractions 0.2, 0.4, 0.9; 10, 20, 60 outliers; stored bits as numerous."""
    zeros, outliers = (0.2, 0.4, 0.9), (10, 20, 60)
    one = manifest(
        lambda layer, kind: {
            "zero_fraction": zeros[layer], "outliers": outliers[layer], "mask_bits": 144 + layer,
            "offset_bits": 90 + 3 * layer, "scale_bits": 480 + layer, "planes": 2,
        }
    )  # fmt: skip
    op = only("q_proj", one)
    assert (op.count, op.planes, op.group, op.scale_groups, op.offset_groups) == (3, 2, 5, 3, 0)
    assert op.statistics.zero_fraction == pytest.approx(0.5)
    assert op.statistics.toggle_rate == pytest.approx((1 - 0.5) / 2)
    assert op.int8_macs == pytest.approx(30)
    assert op.side_bits == pytest.approx((8 * 90 + 144 + 145 + 146) / 3)
    assert op.scale_bits == pytest.approx((480 + 481 + 482 + 90 + 93 + 96) / 3)
    assert "made up" in op.statistics.origin
    assert not op.statistics.measured


@pytest.mark.parametrize(
    ("kind", "group", "folds_group", "scales", "offsets"),
    [
        ("group", 5, 5, 3, 3), ("group", 12, 12, 1, 1), ("pow2", 4, 4, 1, 3), ("row", None, None, 1, 1),
        ("tensor", None, None, 1, 1),
    ],
)  # fmt: skip
def test_scales_of_groups_are_multiplies_and_powers_of_two_are_shifts(kind, group, folds_group, scales, offsets):
    one = manifest(lambda *_: {"scale_kind": kind, "group": group, "offset_bits": 300})
    op = only("q_proj", one)  # K = 12
    assert (op.group, op.scale_groups, op.offset_groups) == (folds_group, scales, offsets)


@pytest.mark.parametrize(
    "other",
    [{"planes": 2}, {"group": 6}, {"scale_kind": "pow2"}, {"offset_bits": 16}, {"rank": 1}, {"outliers": 1},
     {"permutation_bits": 8}],
)  # fmt: skip
def test_layers_of_another_format_are_an_op_of_their_own(other):
    one = manifest(lambda layer, kind: other if layer == 1 else {})
    assert [op.count for op in ops(one) if op.name == "q_proj"] == [2, 1]


def test_the_products_of_factors_are_rank_times_both_sides():
    op = only("down_proj", manifest(lambda *_: {"rank": 3, "low_rank_bits": 1440}))
    assert (op.float_macs, op.side_bits, op.permuted) == (3 * (12 + 18), 1440, False)
    assert only("down_proj", manifest(lambda *_: {"permutation_bits": 1})).permuted


def test_a_manifest_that_lacks_a_layer_is_refused():
    one = manifest(lambda layer, kind: None if (layer, kind) == (1, "up_proj") else {})
    with pytest.raises(InputError, match="up_proj must be there for 3 layers, not 2"):
        ops(one)
    with pytest.raises(InputError, match="must have the shape of model 'tiny'"):
        ops(manifest(lambda *_: {}, SHAPE.model_copy(update={"vocab_size": 22})))


def test_a_run_with_a_head_of_its_own_is_of_the_model_it_was_tied_in():
    """As a rotated stream leaves it; the other way round it is of another model."""
    tied = SHAPE.model_copy(update={"tie_embeddings": True})
    found, own = (
        build_trace(tied, 5, 2, manifest=manifest(lambda *_: {}, shape)).phases[0].ops for shape in (SHAPE, tied)
    )
    assert found == own
    with pytest.raises(InputError, match="must have the shape of model 'tiny'"):
        ops(manifest(lambda *_: {}, tied))


def test_measured_statistics_go_before_a_manifests_and_those_before_assumed_ones():
    measured = Statistics(zero_fraction=0.1, toggle_rate=0.2, input_toggle_rate=0.3, measured=True, origin="here")
    statistics = {"decode": {"q_proj": measured}}
    one = manifest(lambda *_: {})
    assert only("q_proj", one, statistics=statistics, phase=1).statistics == measured
    assert only("q_proj", None, statistics=statistics, phase=1).statistics == measured
    assert only("q_proj", one, statistics=statistics).statistics.zero_fraction == pytest.approx(0.4)
    assert only("k_proj", None, statistics=statistics, phase=1).statistics == assumed_statistics("decode")
    assert only("lm_head", one).statistics is None


def test_fused_projections_carry_sums_and_means_weighted_by_outputs():
    """q, k and v have 12, 6 and 6 outputs; gate and up 18 each; o and down stay alone."""
    zeros = {"q_proj": 0.2, "k_proj": 0.4, "v_proj": 0.8, "gate_proj": 0.1, "up_proj": 0.3}
    side = {"q_proj": 1, "k_proj": 2, "v_proj": 3}
    one = manifest(
        lambda layer, kind: {
            "zero_fraction": zeros.get(kind, 0.5), "rank": side.get(kind, 4), "outliers": 10 * side.get(kind, 4),
            "low_rank_bits": 100 * side.get(kind, 4), "mask_bits": 7,
        }
    )  # fmt: skip
    fused = {op.name: op for op in ops(one, fuse=True)}
    assert list(fused) == ["q_proj+k_proj+v_proj", "o_proj", "gate_proj+up_proj", "down_proj", "lm_head"]
    qkv, gate_up = fused["q_proj+k_proj+v_proj"], fused["gate_proj+up_proj"]
    assert (qkv.gemm, gate_up.gemm) == ((5, 24, 12), (5, 36, 12))
    mean = (12 * 0.2 + 6 * 0.4 + 6 * 0.8) / 24
    assert qkv.statistics.zero_fraction == pytest.approx(mean)
    assert qkv.statistics.toggle_rate == pytest.approx((1 - mean) / 2)
    assert qkv.statistics.input_toggle_rate == pytest.approx(0.5)
    assert gate_up.statistics.zero_fraction == pytest.approx(0.2)
    assert qkv.float_macs == 1 * (12 + 12) + 2 * (6 + 12) + 3 * (6 + 12)
    assert qkv.int8_macs == 60
    assert qkv.side_bits == 600 + 3 * 7 + 8 * 60
    assert qkv.scale_bits == 48 * 24
    assert qkv.count == 3


@pytest.mark.parametrize(
    ("other", "names"),
    [
        ({"planes": 2}, ["q_proj", "k_proj", "v_proj"]),
        ({"group": 6}, ["q_proj", "k_proj", "v_proj"]),
        ({"offset_bits": 16}, ["q_proj", "k_proj", "v_proj"]),
        ({"scale_kind": "row", "group": None}, ["q_proj", "k_proj", "v_proj"]),
        ({"zero_fraction": 0.9}, ["q_proj+k_proj+v_proj"]),
    ],
)
def test_projections_of_other_formats_stay_apart(other, names):
    one = manifest(lambda layer, kind: other if kind == "k_proj" else {})
    assert [op.name for op in ops(one, fuse=True)][: len(names)] == names


def test_permuted_projections_stay_apart_and_equal_neighbours_still_join():
    permuted = manifest(lambda layer, kind: {"permutation_bits": 9})
    assert [op.name for op in ops(permuted, fuse=True)] == [*LINEAR_KINDS, "lm_head"]
    last_differs = manifest(lambda layer, kind: {"planes": 2} if kind == "v_proj" else {})
    assert [op.name for op in ops(last_differs, fuse=True)][:2] == ["q_proj+k_proj", "v_proj"]


@pytest.mark.parametrize(("order", "rate"), [("prefill", 0.35), ("decode", 2 * 0.35 * 0.65)])
def test_assumed_toggles_follow_from_the_share_of_zeros(order, rate):
    """A selected operand has a bit set with p = 0.7 / 2: it toggles with p where trits rest, else with 2 p (1 - p)."""
    statistics = assumed_statistics(order, 0.3, "said")
    assert statistics.toggle_rate == pytest.approx(rate)
    assert (statistics.input_toggle_rate, statistics.origin, statistics.steady_operands) == (0.5, "said", None)
