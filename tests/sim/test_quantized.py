"""Quantized models in the simulator: each linear in its own format, and work of the vector unit charged by hand."""

import json

import pytest

from hw.config import sized
from hw.errors import InputError
from quant.manifest import Manifest, read_manifest, write_manifest
from quant.shapes import LINEAR_KINDS, ModelShape
from quant.weights.checkpoint import Checkpoint, write_checkpoint
from sim.execution import Execution
from sim.gemm.schedule import GemmJob
from sim.memory import MemoryConfig
from sim.simulator import simulate
from sim.trace.build import build_trace

torch = pytest.importorskip("torch")

from quant.weights.side_data import LowRank, Outliers  # noqa: E402
from quant.weights.solution import LinearSolution  # noqa: E402

SHAPE = ModelShape(
    name="tiny", source="made up", hidden_size=24, intermediate_size=40, layers=3, heads=4, kv_heads=2, head_dim=6,
    vocab_size=50, max_positions=64,
)  # fmt: skip
ARRAY = sized(4, 4)
MLP = ("gate_proj", "up_proj", "down_proj")


def memory(bytes_per_s=1e9):
    return MemoryConfig(
        name="m", source="test", standard="DDR4", channels=1, peak_bytes_per_s=bytes_per_s, sequential_efficiency=1,
        efficiency_source="test", latency_s=0.0,
    )  # fmt: skip


def solution(kind, group=8, rank=0, outliers=0, permuted=False, offsets=False):
    n, k = SHAPE.linear(kind)
    mask = torch.zeros(n, k, dtype=torch.bool)
    mask.view(-1)[:outliers] = True
    trits = (torch.arange(n * k).reshape(1, n, k) % 3 - 1).to(torch.int8)
    return LinearSolution(
        trits=trits,
        scales=torch.ones(1, n, -(-k // group)).half(),
        group=group,
        scale_kind="group",
        offsets=torch.ones(n, -(-k // group)).half() if offsets else None,
        permutation=torch.arange(k).flip(0) if permuted else None,
        outliers=Outliers(mask, mask.byte(), torch.ones(n).half(), torch.zeros(n).byte()) if outliers else None,
        low_rank=LowRank(torch.ones(n, rank).half(), torch.ones(rank, k).half()) if rank else None,
    )


def manifest(folder, of_linear):
    """Written and read back; ``of_linear``: layer, kind -> fields of ``solution``."""
    solutions = {(layer, kind): solution(kind, **of_linear(layer, kind)) for layer in range(3) for kind in LINEAR_KINDS}
    write_checkpoint(folder / "ternary.safetensors", solutions)
    checkpoint = Checkpoint(folder / "ternary.safetensors")
    one = Manifest(
        model="tiny", shape=SHAPE, method="made up", options={}, packing="5in8", linears=checkpoint.entries(),
        weights_sha256="0", source_sha256="0", calibration="none",
    )  # fmt: skip
    assert [entry.bits for entry in one.linears] == [s.bits().total for s in solutions.values()]
    write_manifest(folder / "manifest.json", one)
    return read_manifest(folder / "manifest.json")


def linears(phase):
    """By name; the ops of a trace or of a result."""
    return {op.name: op for op in phase.ops if set(op.name.split("+")) <= set(LINEAR_KINDS)}


def test_attention_and_mlp_have_each_their_own_groups(tmp_path):
    """Groups of 8 over K = 24 are 3 scales and, on 4 rows, 6 folds; groups of 20 over K = 24 and 40 are 2 scales."""
    mixed = manifest(tmp_path, lambda _, kind: {"group": 20 if kind in MLP else 8})
    assert mixed.group_sizes == [8, 20]
    ops = linears(build_trace(SHAPE, 5, 2, manifest=mixed).phases[0])
    assert {kind: op.group for kind, op in ops.items()} == {k: 20 if k in MLP else 8 for k in LINEAR_KINDS}
    assert {kind: op.scale_groups for kind, op in ops.items()} == {k: 2 if k in MLP else 3 for k in LINEAR_KINDS}
    assert GemmJob(ops["gate_proj"].gemm, group=20).folds(4) == 6
    prefill = linears(simulate(SHAPE, ARRAY, memory(), 5, 2, manifest=mixed).phase("prefill"))
    assert prefill["q_proj"].counts.scale_multiplies == 3 * 5 * 24 * 3
    assert prefill["down_proj"].counts.scale_multiplies == 3 * 5 * 24 * 2


def test_a_manifest_that_names_its_group_once_is_still_read(tmp_path):
    same = manifest(tmp_path, lambda *_: {})
    path = tmp_path / "manifest.json"
    document = json.loads(path.read_text()) | {"group": 8, "scale_kind": "group"}
    for entry in document["linears"]:
        for field in ("group", "scale_kind", "rank", "outliers", "low_rank_bits"):
            del entry[field]
    del document["seal"]
    path.write_text(json.dumps(document))
    assert read_manifest(path) == same


@pytest.mark.parametrize(
    ("linears", "fault"),
    [
        (None, "'linears' should be a valid list, not None"),
        ([3], r"'linears\.0' should be .*, not 3"),
        ([{"layer": 0}], r"'linears\.0\.kind' is missing \(and \d+ more\)"),
    ],
)
def test_a_manifest_without_its_linears_is_refused(tmp_path, linears, fault):
    manifest(tmp_path, lambda *_: {})
    path = tmp_path / "manifest.json"
    document = json.loads(path.read_text()) | {"linears": linears}
    del document["seal"]  # which tells of edits
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=f"manifest.json: field {fault}; quantize again"):
        read_manifest(path)


def test_scales_and_offsets_come_from_dram_once_per_token_tile_unless_the_array_takes_them_with_its_weights(tmp_path):
    """q_proj: 24 rows of 3 float16 scales, and as many offsets for one of the models; 9 tokens in tiles of 4."""
    plain = manifest(tmp_path, lambda *_: {})
    shifted = manifest(tmp_path, lambda *_: {"offsets": True})
    array = ARRAY.model_copy(update={"token_tile": 4})
    row = array.model_copy(update={"group_exponent_bits": 2})
    weights = GemmJob(linears(build_trace(SHAPE, 9, 2).phases[0])["q_proj"].gemm, group=8).folds(4) * 6 * 32
    for one, numbers in ((plain, 72), (shifted, 144)):
        streamed = linears(simulate(SHAPE, array, memory(), 9, 2, manifest=one).phase("prefill"))["q_proj"].counts
        assert streamed.dram_read_bits == 3 * (weights + 3 * 16 * numbers)
        assert streamed.weight_buffer_write_bits == streamed.dram_read_bits
        taken = linears(simulate(SHAPE, row, memory(), 9, 2, manifest=one).phase("prefill"))["q_proj"].counts
        exponents = GemmJob(linears(build_trace(SHAPE, 9, 2).phases[0])["q_proj"].gemm, group=8).folds(4) * 6 * 8
        assert taken.dram_read_bits == 3 * (weights + exponents)


def test_a_low_rank_correction_costs_its_products_its_bytes_and_its_bits(tmp_path):
    """Rank 2 at q_proj, 24 x 24: 2 x 48 float16 numbers, as many products per token, once per tile of 4 tokens."""
    plain = manifest(tmp_path, lambda *_: {})
    corrected = manifest(tmp_path, lambda _, kind: {"rank": 2 if kind == "q_proj" else 0})
    assert {entry.rank for entry in corrected.linears if entry.kind == "q_proj"} == {2}
    assert sum(e.bits for e in corrected.linears) - sum(e.bits for e in plain.linears) == 3 * 16 * 96
    array = ARRAY.model_copy(update={"token_tile": 4})
    before, after = (simulate(SHAPE, array, memory(), 9, 2, manifest=one) for one in (plain, corrected))
    for name, tokens, tiles, steps in (("prefill", 9, 3, 1), ("decode", 1, 1, 2)):
        old, new = (linears(run.phase(name)) for run in (before, after))
        assert new["o_proj"] == old["o_proj"]
        added = {
            field: getattr(new["q_proj"].counts, field) - getattr(old["q_proj"].counts, field)
            for field in old["q_proj"].counts._fields
        }
        executions = 3 * steps
        assert {field: count for field, count in added.items() if count} == {
            "vector_float_macs": executions * tokens * 96,
            "weight_buffer_write_bits": executions * tiles * 16 * 96,
            "weight_buffer_read_bits": executions * tiles * 16 * 96,
            "activation_buffer_read_bits": executions * tokens * 96 * 16,
            "dram_read_bits": executions * tiles * 16 * 96,
        }
    assert any("low-rank" in note for note in after.notes)
    assert not any("low-rank" in note for note in before.notes)


@pytest.mark.parametrize("fields", [{"rank": 2}, {"outliers": 3}])
def test_nothing_can_be_added_behind_int8_results(tmp_path, fields):
    one = manifest(tmp_path, lambda _, kind: fields if kind == "o_proj" else {})
    array = ARRAY.model_copy(update={"results": "int8"})
    with pytest.raises(InputError, match="results int8 rounds the sums of 'o_proj' before products"):
        simulate(SHAPE, array, memory(), 9, 2, manifest=one)
    on_the_vector_unit = Execution(placement={"o_proj": "vector"})
    simulate(SHAPE, array, memory(), 9, 2, manifest=one, execution=on_the_vector_unit)


@pytest.mark.parametrize("mac", ["int8", "fp16"])
def test_arrays_that_multiply_whole_weights_have_no_correction_beside_them(tmp_path, mac):
    plain = manifest(tmp_path, lambda *_: {})
    corrected = manifest(tmp_path, lambda *_: {"rank": 2})
    runs = [simulate(SHAPE, ARRAY.baseline(mac), memory(), 9, 2, manifest=one) for one in (plain, corrected)]
    assert runs[0].phases == runs[1].phases


def test_factors_behind_a_slow_memory_take_the_time_of_their_bytes(tmp_path):
    """One byte per cycle at 1 GHz: 48 x 2 float16 numbers are 192 bytes, and decode already waits for every byte."""
    plain = manifest(tmp_path, lambda *_: {})
    corrected = manifest(tmp_path, lambda *_: {"rank": 2})
    array = ARRAY.model_copy(update={"clock_hz": 1e9})
    old, new = (linears(simulate(SHAPE, array, memory(), 9, 1, manifest=m).phase("decode")) for m in (plain, corrected))
    stalls = (new["q_proj"].causes["dram_stall"] - old["q_proj"].causes["dram_stall"]) / 3
    idle = (old["q_proj"].cycles - old["q_proj"].counts.dram_read_bits / 8) / 3
    assert stalls == pytest.approx(192 - idle, abs=1)
    assert new["q_proj"].causes["vector"] == 0


def test_a_busy_vector_unit_makes_the_array_wait(tmp_path):
    """One vector lane: 5 tokens x (96 products + 3 x 24 scales) at q_proj, the array being done long before."""
    corrected = manifest(tmp_path, lambda *_: {"rank": 2})
    array = ARRAY.model_copy(update={"vector_lanes": 1})
    q = linears(simulate(SHAPE, array, memory(1e18), 5, 1, manifest=corrected).phase("prefill"))["q_proj"]
    assert q.cycles == 3 * 5 * (96 + 3 * 24)


def test_outliers_are_int8_products_with_their_bitmap_and_no_offsets(tmp_path):
    """10 weights of 24 x 24 at 8 bits, bitmap of 24 x 3 bytes; zero points of outliers are no offsets of groups."""
    one = manifest(tmp_path, lambda _, kind: {"outliers": 10 if kind == "q_proj" else 0})
    (entry,) = (e for e in one.linears if (e.layer, e.kind) == (0, "q_proj"))
    assert (entry.outliers, entry.offset_bits, entry.has_offsets) == (10, 24 * 8, False)
    op = linears(build_trace(SHAPE, 5, 2, manifest=one).phases[0])["q_proj"]
    assert (op.int8_macs, op.float_macs, op.side_bits, op.offset_groups) == (10, 0, 10 * 8 + 24 * 3 * 8, 0)
    run = linears(simulate(SHAPE, ARRAY, memory(), 5, 2, manifest=one).phase("prefill"))["q_proj"]
    assert run.counts.vector_macs == 3 * 5 * 10


def test_permuted_inputs_are_gathered_and_share_no_gemm(tmp_path):
    one = manifest(tmp_path, lambda *_: {"permuted": True, "rank": 1})
    apart, fused = (
        simulate(SHAPE, ARRAY, memory(), 5, 2, manifest=one, execution=Execution(fuse_projections=choice))
        for choice in (False, True)
    )
    assert apart.phases == fused.phases
    assert linears(apart.phase("prefill"))["q_proj"].counts.vector_ops == 3 * 5 * 24


def test_fused_projections_keep_the_work_beside_them(tmp_path):
    one = manifest(tmp_path, lambda *_: {"rank": 1, "outliers": 3})
    apart, fused = (
        simulate(SHAPE, ARRAY, memory(), 5, 2, manifest=one, execution=Execution(fuse_projections=choice))
        for choice in (False, True)
    )
    for before, after in zip(apart.phases, fused.phases, strict=True):
        assert "q_proj+k_proj+v_proj" in linears(after)
        for count in ("vector_macs", "vector_float_macs", "dram_read_bits"):
            assert getattr(after.counts, count) == getattr(before.counts, count)


def test_layers_of_several_formats_keep_their_work_when_the_prompt_comes_in_chunks(tmp_path):
    one = manifest(tmp_path, lambda layer, _: {"group": 8 if layer else 24, "rank": layer})
    ops = [op for op in build_trace(SHAPE, 5, 2, manifest=one).phases[0].ops if op.name == "q_proj"]
    assert [(op.group, op.float_macs, op.count) for op in ops] == [(24, 0, 1), (8, 48, 1), (8, 96, 1)]
    whole, chunked = (
        simulate(SHAPE, ARRAY, memory(), 5, 2, manifest=one, execution=Execution(prefill_chunk=chunk)).phase("prefill")
        for chunk in (None, 2)
    )
    assert chunked.counts.array_macs == whole.counts.array_macs
    assert (
        chunked.counts.vector_float_macs
        == whole.counts.vector_float_macs
        == 5 * (1 + 2) * sum(n + k for n, k in map(SHAPE.linear, LINEAR_KINDS))
    )


@pytest.mark.parametrize("place", ["vector", "host"])
def test_work_beside_a_linear_goes_where_the_linear_goes(tmp_path, place):
    one = manifest(tmp_path, lambda *_: {"rank": 2, "outliers": 10})
    execution = Execution(placement={"q_proj": place})
    q = linears(simulate(SHAPE, ARRAY, memory(), 5, 2, manifest=one, execution=execution).phase("prefill"))["q_proj"]
    if place == "vector":
        assert q.counts.vector_macs == 3 * 5 * (24 * 24 + 10)
        assert q.counts.vector_float_macs == 3 * 5 * 96
    else:
        assert q.counts.host_macs == 3 * 5 * (24 * 24 + 10)
        assert q.counts.host_ops == 3 * 5 * 96 * 2
        assert q.counts.vector_work == 0


def test_a_correction_must_fit_on_chip_too(tmp_path):
    """What ``tests/sim/test_execution.py`` counts, and 16 bits for each scale and each number of every factor."""
    one = manifest(tmp_path, lambda *_: {"rank": 2})
    factors = 3 * 2 * 16 * sum(n + k for n, k in map(SHAPE.linear, LINEAR_KINDS))
    scales = 3 * 16 * sum(n * -(-k // 8) for n, k in map(SHAPE.linear, LINEAR_KINDS))
    needed = (3 * 4608 * 2 + 50 * 24 * 24 + 2 * 3 * 12 * 7 * 16 + scales + factors) // 8
    array = ARRAY.model_copy(update={"weight_buffer_bytes": needed - 1})
    with pytest.raises(InputError, match=f"weight_buffer_bytes must be at least {needed} "):
        simulate(SHAPE, array, memory(), 5, 2, manifest=one, execution=Execution(on_chip=True))
    array = ARRAY.model_copy(update={"weight_buffer_bytes": needed})
    run = simulate(SHAPE, array, memory(), 5, 2, manifest=one, execution=Execution(on_chip=True))
    assert all(phase.counts.dram_read_bits == 0 for phase in run.phases)
