"""True bits, zero fractions and side data of a manifest by hand, and statistics of a recording by walks."""

import numpy as np
import pytest

from quant.manifest import LinearEntry, Manifest, TableEntry, older_options, read_manifest, write_manifest
from quant.recording import decode_statistics, prefill_statistics, sums_digest
from quant.shapes import load_shape

SMALL = LinearEntry(
    layer=0, kind="q_proj", n=4, k=10, group=4, scale_kind="group", zero_fraction=0.5, code_bits=64, scale_bits=192
)
LARGE = LinearEntry(
    layer=0, kind="o_proj", n=10, k=20, planes=2, group=None, scale_kind="row", outliers=7, rank=2, zero_fraction=0.25,
    code_bits=800, scale_bits=320, offset_bits=80, mask_bits=240, permutation_bits=104, low_rank_bits=960,
)  # fmt: skip


def manifest(*linears):
    return Manifest(
        model="m", shape=load_shape("stories260K"), method="rtn", options={}, packing="5in8", linears=list(linears),
        weights_sha256="0" * 64, source_sha256="1" * 64, calibration="c",
    )  # fmt: skip


def test_bits_of_a_linear_are_all_that_is_stored():
    assert SMALL.bits == 64 + 192
    assert LARGE.bits == 800 + 320 + 80 + 240 + 104 + 960
    assert (SMALL.side_bits, LARGE.side_bits) == (0, 960 + 7 * 8 + 240)
    assert LARGE.model_copy(update={"outliers": 0}).side_bits == 960  # the masks of zones belong to the codes
    assert (SMALL.groups, LARGE.groups) == (3, 1)
    assert (SMALL.planes, SMALL.outliers, SMALL.rank) == (1, 0, 0)


def test_offsets_are_what_remains_beside_the_zero_points_of_outliers():
    assert not LARGE.has_offsets  # ten zero points of eight bits
    assert LARGE.model_copy(update={"offset_bits": 88}).has_offsets
    assert LARGE.model_copy(update={"outliers": 0}).has_offsets
    assert not SMALL.has_offsets
    assert SMALL.model_copy(update={"offset_bits": 1}).has_offsets


@pytest.mark.parametrize(
    ("tied", "tables", "stored"),
    [
        (True, {}, 16 * 32768),
        (False, {}, 16 * 2 * 32768),
        (True, {("embedding", "head"): 70000}, 70000),
        (True, {("head",): 70000}, 70000 + 16 * 32768),  # the embedding is still there
        (True, {("embedding",): 70000, ("head",): 16 * 32768}, 70000 + 16 * 32768),
        (False, {("embedding",): 70000, ("head",): 60000}, 130000),
    ],
)
def test_bits_of_the_whole_file_count_tables_and_all_else(tied, tables, stored):
    """512 x 64 entries a table; what is neither linear nor table stays at 16 bits."""
    shape = load_shape("stories260K").model_copy(update={"tie_embeddings": tied})
    entries = [
        TableEntry(name="lm_head" if roles == ("head",) else "embed_tokens", roles=roles, digits=1, bits=bits)
        for roles, bits in tables.items()
    ]
    whole = manifest(SMALL, LARGE).model_copy(update={"shape": shape, "tables": entries})
    norms = shape.total_parameters - shape.linear_parameters - (1 if tied else 2) * 32768
    assert whole.whole_bits == pytest.approx((256 + 2504 + stored + 16 * norms) / shape.total_parameters)
    assert whole.digits_of("head") == (1 if any("head" in roles for roles in tables) else None)


def test_true_bits_are_per_weight_and_zeros_per_trit(tmp_path):
    whole = manifest(SMALL, LARGE)
    assert whole.true_bits == pytest.approx((256 + 2504) / (40 + 200))
    assert whole.zero_fraction == pytest.approx((0.5 * 40 + 0.25 * 400) / 440)
    assert whole.group_sizes == [4, None]
    assert manifest(SMALL, LARGE, SMALL).group_sizes == [4, None]
    write_manifest(tmp_path / "manifest.json", whole)
    assert read_manifest(tmp_path / "manifest.json") == whole


def test_rows_without_the_options_that_a_method_has_got_since_are_told():
    """pt-bitnet's errors followed nothing and were not relative before ``follow`` and ``relative`` were there."""
    new = ("m", "pt-bitnet", {"refit": 0.5, "follow": 0.75, "relative": 1.0})
    half = ("m", "pt-bitnet", {"refit": 0.5, "follow": 0.0, "relative": 1.0})
    assert older_options([new, half, ("m", "rtn", {})]) == []
    before = ("b", "pt-bitnet", {"refit": 0.5})
    (line,) = older_options([new, before, before, ("a", "pt-bitnet", {"follow": 0.0, "relative": 0.0})])
    assert line.startswith("`pt-bitnet` on a, b is what `follow=0 relative=0` gives")


def toggles(a, b):
    return bin((a ^ b) & 0xFF).count("1")


RNG = np.random.default_rng(4)
Q, TRITS = RNG.integers(-127, 128, (4, 80), dtype=np.int8), RNG.integers(-1, 2, (2, 5, 80), dtype=np.int8)


def test_decode_takes_two_tokens_and_folds_of_32_lanes_over_all_planes():
    selected = [
        toggles(int(t[k]) * int(token[k]), int(t[k - 32]) * int(token[k - 32]))
        for token in Q[:2]
        for t in TRITS.reshape(-1, 80)
        for k in range(32, 80)
    ]
    entered = [toggles(int(token[k]), int(token[k - 32])) for token in Q[:2] for k in range(32, 80)]
    found = decode_statistics(Q, TRITS)
    assert found.toggle_rate == pytest.approx(np.mean(selected) / 8)
    assert found.input_toggle_rate == pytest.approx(np.mean(entered) / 8)


@pytest.mark.parametrize("k", [31, 32])
def test_decode_of_a_single_fold_sees_the_next_output(k):
    q, trits = Q[:, :k], TRITS[..., :k]
    selected = [
        toggles(int(plane[n][i]) * int(token[i]), int(plane[n - 1][i]) * int(token[i]))
        for token in q[:2]
        for plane in trits
        for n in range(1, 5)
        for i in range(k)
    ]
    found = decode_statistics(q, trits)
    assert found.toggle_rate == pytest.approx(np.mean(selected) / 8)
    assert found.input_toggle_rate == 0
    assert decode_statistics(q, trits[:, :1]).toggle_rate == 0  # there is no next output
    assert decode_statistics(Q[:, :33], TRITS[..., :33]).input_toggle_rate > 0


def test_prefill_over_two_planes():
    selected = [
        toggles(int(t[k]) * int(Q[m, k]), int(t[k]) * int(Q[m - 1, k]))
        for t in TRITS.reshape(-1, 80)
        for k in range(80)
        for m in range(1, 4)
    ]
    assert prefill_statistics(Q, TRITS).toggle_rate == pytest.approx(np.mean(selected) / 8)
    prefill_statistics(Q[:2], TRITS)
    with pytest.raises(ValueError, match="at least two tokens"):
        prefill_statistics(Q[:1], TRITS)


def test_sums_of_31_bits_have_a_digest_and_larger_ones_none():
    largest = 2**31 - 1
    sums_digest(np.full((1, 1, 1, 1), largest))
    sums_digest(np.full((1, 1, 1, 1), -largest))
    for value in (largest + 1, -largest - 1):
        with pytest.raises(ValueError, match="sums must fit int32"):
            sums_digest(np.full((1, 1, 1, 1), value))
    with pytest.raises(ValueError, match="not 3 axes"):
        sums_digest(np.zeros((1, 1, 1)))
