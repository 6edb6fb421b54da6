"""Methods side by side from their manifests alone: every figure of a row recomputed from a run of its own."""

import json

import pytest

from energy.compare import compare_manifests, write_comparison
from energy.costs.sources import load_source
from energy.job import Job
from energy.model import energy_of
from hw.config import load_array
from hw.errors import InputError
from quant.manifest import LinearEntry, Manifest, write_manifest
from quant.shapes import LINEAR_KINDS, load_shape

SHAPE = load_shape("stories260K")
JOB = Job(model="stories260K", array="8x8", memory="ddr4-2400", prefill=6, decode=3, batch=2, costs="bitnet-7nm")
PERPLEXITY = {"fp": 10.0, "fp_a8": 10.5, "a16": 12.0, "a8": 12.5}


def manifest(folder, method="rtn", planes_of=lambda kind: 1, perplexity=PERPLEXITY, **fields):
    """A hand-made manifest; codes of two bits per plane and scales of 16 per row."""
    linears = []
    for layer in range(SHAPE.layers):
        for kind in LINEAR_KINDS:
            (n, k), planes = SHAPE.linear(kind), planes_of(kind)
            codes, scales = 2 * planes * n * k, 16 * planes * n
            bits = {"group": None, "scale_kind": "row", "code_bits": codes, "scale_bits": scales}
            linears.append(LinearEntry(layer=layer, kind=kind, n=n, k=k, planes=planes, zero_fraction=0.3, **bits))
    one = Manifest(
        **{
            "model": "stories260K", "shape": SHAPE, "method": method, "options": {}, "packing": "2bit",
            "linears": linears, "weights_sha256": "0", "source_sha256": "0", "calibration": "words",
            "evaluation": "prose", "perplexity": perplexity,
        } | fields
    )  # fmt: skip
    path = folder / f"{method}-{len(list(folder.iterdir()))}.json"
    write_manifest(path, one)
    return path, one


def check_row(row, result, close):
    energy = energy_of(result, load_source("bitnet-7nm"))
    prefill, decode = result.phases
    clock = result.array.clock_hz
    assert row.decode_tokens_per_s == close(3 * 2 / (decode.cycles / clock))
    assert row.prefill_s == close(prefill.cycles / clock)
    assert row.decode_j_per_token == close(energy.phase("decode").total.typical / 6)
    assert row.decode_array_j_per_token == close(energy.phase("decode").parts["array"].typical / 6)


def test_rows_are_the_runs_of_their_manifests_behind_an_fp16_array(tmp_path, close):
    """Two planes at down_proj, one elsewhere: planes weighted by size; the first row is the model before."""
    path, one = manifest(tmp_path, planes_of=lambda kind: 1 + (kind == "down_proj"), perplexity=PERPLEXITY)
    comparison = compare_manifests(JOB, [path])
    before, after = comparison.rows
    array = load_array("8x8")
    check_row(before, JOB.simulate(SHAPE, array.baseline("fp16")), close)
    check_row(after, JOB.simulate(SHAPE, array, one), close)
    assert (before.true_bits, before.planes) == (16, 0)
    assert (before.perplexity_a16, before.perplexity_a8) == (10.0, 10.5)
    assert (after.perplexity_a16, after.perplexity_a8) == (12.0, 12.5)
    sizes = {kind: SHAPE.linear(kind)[0] * SHAPE.linear(kind)[1] for kind in LINEAR_KINDS}
    down = sizes["down_proj"] / sum(sizes.values())
    assert after.planes == close(1 + down)
    scales = sum(16 * SHAPE.linear(kind)[0] * (1 + (kind == "down_proj")) for kind in LINEAR_KINDS)
    assert after.true_bits == close(2 * (1 + down) + scales / sum(sizes.values()))
    assert (comparison.prefill, comparison.decode, comparison.batch) == (6, 3, 2)
    assert (comparison.text, comparison.calibration, comparison.memory) == ("prose", "words", "ddr4-2400")


def test_several_cores_feed_the_fp16_array_too(tmp_path, close):
    path, _ = manifest(tmp_path)
    job = JOB.model_copy(update={"array": "32x32", "cores": 128})  # 128 pairs of 2 KiB fp16 tiles: 512 KiB
    before, _ = compare_manifests(job, [path]).rows
    fed = load_array("32x32").baseline("fp16").model_copy(update={"weight_buffer_bytes": 2 * 128 * 2048})
    check_row(before, job.simulate(SHAPE, fed), close)


def test_runs_of_one_method_are_told_apart_by_their_options(tmp_path):
    paths = [
        manifest(tmp_path, options={"group": 64, "steps": 3})[0],
        manifest(tmp_path, options={"group": 128, "steps": 3})[0],
        manifest(tmp_path, method="gptq", options={"group": 32})[0],
    ]
    labels = [row.method for row in compare_manifests(JOB, paths).rows]
    assert labels == ["unquantized (fp16 array)", "rtn (group=64)", "rtn (group=128)", "gptq"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"perplexity": {"fp": 1, "a16": 2}}, r"perplexity lacks a8, fp_a8; evaluate again"),
        ({"evaluation": "verse"}, r"evaluation must be 'prose' as in .*, not 'verse'"),
        ({"calibration": "noise"}, r"calibration must be 'words' as in .*, not 'noise'"),
        ({"model": "other"}, r"model must be 'stories260K' as in .*, not 'other'"),
    ],
)
def test_runs_that_cannot_stand_side_by_side_are_refused(tmp_path, changes, message):
    paths = [manifest(tmp_path)[0], manifest(tmp_path, **changes)[0]]
    with pytest.raises(InputError, match=message):
        compare_manifests(JOB, paths)


def test_a_comparison_is_a_file_of_a_named_schema_and_names_its_manifests(tmp_path):
    path, _ = manifest(tmp_path)
    write_comparison(tmp_path / "comparison.json", compare_manifests(JOB, [path]), [path])
    document = json.loads((tmp_path / "comparison.json").read_text())
    assert (document["schema"], document["version"], len(document["rows"])) == ("tritforge.comparison", 1, 2)
    assert list(document["inputs"]) == [f"{tmp_path.name}/{path.name}"]
