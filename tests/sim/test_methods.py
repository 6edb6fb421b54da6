"""Every method's model in the simulator: recorded integers replay bit for bit, and its mapping is charged."""

import numpy as np
import pytest

from hw.config import load_array, sized
from hw.golden import group_sums
from quant.registry import METHODS
from sim.memory import load_memory
from sim.replay import linear_sums, replay
from sim.simulator import simulate

torch = pytest.importorskip("torch", reason="the quant extra is not installed")

from quant import pipeline  # noqa: E402
from quant.job import QuantJob  # noqa: E402
from quant.pipeline import quantize  # noqa: E402
from tests.quant.tiny import TEXT, save_tiny_llama  # noqa: E402

ARRAY = sized(8, 4)
OPTIONS = {
    "pt-bitnet-full": {
        "epochs": 1, "distill_steps": 2, "distill_length": 16, "distill_tokens_per_step": 64, "generated_windows": 0,
    },
    "flexround": {"epochs": 1, "grid": 10},
    "lrq": {"epochs": 1, "grid": 10},
    "slim-llm+": {"epochs": 1},
    "ptq1.61": {"epochs": 1},
    "wkvquant": {"epochs": 1},
    "roste": {"rotated": "none"},  # of heads of 6 there is no Hadamard matrix
}  # fmt: skip
OPTIONS["sherry"] = OPTIONS["pt-bitnet-full"]

# Planes, whether the sum of activations is needed, weights at 8 bits, inputs in an order of their own; by hand.
HARDWARE = {
    "rtn": (1, False, False, False),
    "gptq": (1, False, False, False),
    "gptq-2bit": (2, True, False, False),
    "pt-bitnet": (1, False, False, False),
    "pt-bitnet-full": (1, False, False, False),
    "pb-llm": (1, True, True, False),
    "pb-llm-qat": (1, False, True, False),
    "billm": (6, True, False, False),
    "omniquant": (2, True, False, False),
    "pt2-llm": (1, True, False, True),
    "ptqtp": (2, False, False, False),
    "ptqtp-tied": (2, False, False, False),
    "digits": (3, False, False, False),
    "flexround": (1, False, False, False),
    "lrq": (1, False, False, False),
    "sherry": (1, False, False, False),
    "ptq1.61": (3, True, False, True),
    "slim-llm": (2, True, False, False),
    "slim-llm+": (2, True, False, False),
    "peqa": (1, False, False, False),
    "roste": (1, False, False, False),
    "wkvquant": (3, False, False, False),
}

# Inputs that all planes of q_proj run over where they are not all: of 24, five have codes of three digits.
COVERED = {"ptq1.61": 5 + 5 + 24}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    folder = tmp_path_factory.mktemp("methods")
    save_tiny_llama(folder / "tiny-llama")
    (folder / "words.txt").write_text(TEXT)
    torch.set_num_threads(1)
    return folder


def job(workplace, method, options):
    text = workplace / "words.txt"
    return QuantJob(
        model=str(workplace / "tiny-llama"), method=method, text=text, calib=text, length=32, windows=2,
        calibration_windows=8, recorded_tokens=6, options=options,
    )  # fmt: skip


def test_every_method_is_here():
    assert set(HARDWARE) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_recorded_integers_replay_and_the_mapping_is_charged(name, workplace, monkeypatch):
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", workplace / "models")
    done = quantize(job(workplace, name, OPTIONS.get(name, {})))
    replayed = list(replay(done.recording, done.checkpoint, ARRAY))  # raises where a sum differs from torch's
    assert len(replayed) == len(done.recording.linears) == 14
    for record in done.recording.linears[:7]:
        linear = done.checkpoint.linear(record.layer, record.kind)
        q = linear.columns(done.recording.activations(record))
        golden = np.stack([group_sums(q, plane, linear.group) for plane in linear.trits])
        np.testing.assert_array_equal(linear_sums(q, linear.trits, linear.group, ARRAY), golden)

    planes, offsets, outliers, permuted = HARDWARE[name]
    run = simulate(
        done.manifest.shape, load_array("edge-32x32"), load_memory("lpddr5-6400"), 4, 2, manifest=done.manifest
    )
    for entry in done.manifest.linears:
        assert (entry.planes, entry.has_offsets, entry.outliers > 0) == (planes, offsets, outliers)
        assert (entry.permutation_bits > 0) == permuted
    q_proj = next(op for op in run.phase("prefill").ops if op.name == "q_proj")
    assert q_proj.macs == 2 * 4 * 24 * COVERED.get(name, 24 * planes)
    gathers, sums = 2 * 4 * 24 * permuted, 2 * 4 * 24 * offsets
    assert q_proj.counts.vector_ops == gathers + sums
    entries = [entry for entry in done.manifest.linears if entry.kind == "q_proj"]
    assert q_proj.counts.vector_macs == 4 * sum(entry.outliers for entry in entries)


def test_mixed_groups_and_a_correction_come_through_from_the_options_to_the_simulator(workplace, monkeypatch):
    """Attention in groups of 8, MLP of 20, and rank 1 beside every linear: 16 (n + k) bits and n + k products each."""
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", workplace / "models")
    options = OPTIONS["pt-bitnet-full"] | {"attention_group": 8, "group": 20, "rank": 1}
    done = quantize(job(workplace, "pt-bitnet-full", options))
    assert done.manifest.group_sizes == [8, 20]
    assert all(entry.low_rank_bits == 16 * (entry.n + entry.k) for entry in done.manifest.linears)
    assert len(list(replay(done.recording, done.checkpoint, ARRAY))) == 14
    run = simulate(done.manifest.shape, ARRAY, load_memory("lpddr5-6400"), 4, 2, manifest=done.manifest)
    size = sum(entry.n + entry.k for entry in done.manifest.linears)
    assert run.phase("prefill").counts.vector_float_macs == 4 * size
    folds = {op.name: op.counts.scale_multiplies for op in run.phase("prefill").ops if op.name.endswith("_proj")}
    assert folds["q_proj"] == 2 * 4 * 24 * 3
    assert folds["down_proj"] == 2 * 4 * 24 * 2


def test_planes_run_only_over_the_columns_that_their_codes_have(workplace, monkeypatch):
    """Six blocks of 4 of 24 inputs: the plane of threes leaves out the 1-bit blocks, as many as have 3 bits."""
    monkeypatch.setattr(pipeline, "MODELS_FOLDER", workplace / "models")
    done = quantize(job(workplace, "slim-llm", {"group": 4}))
    entries = [entry for entry in done.manifest.linears if entry.kind == "q_proj"]
    assert [entry.layer for entry in entries] == [0, 1]
    for entry in entries:
        threes, ones = entry.plane_columns
        widths = done.checkpoint.solution(entry.layer, "q_proj").widths
        assert (threes, ones) == (24 - 4 * widths.count(1), 24)
        assert widths.count(1) == widths.count(3) >= 1
    assert len(list(replay(done.recording, done.checkpoint, ARRAY))) == 14
    run = simulate(done.manifest.shape, ARRAY, load_memory("lpddr5-6400"), 4, 2, manifest=done.manifest)
    ops = [op for op in run.phase("prefill").ops if op.name == "q_proj"]
    covered = sum(sum(entry.plane_columns) for entry in entries)
    assert sum(op.macs for op in ops) == 4 * 24 * covered
    folds = 4 * 24 * (covered // 4 + 2 * 6)  # a scale for each block of each plane, an offset for each block
    assert sum(op.counts.scale_multiplies for op in ops) == folds
    # what an array streams: nonzero trits over those of the columns that each plane runs over
    for record in done.recording.linears:
        linear = done.checkpoint.linear(record.layer, record.kind)
        assert record.zero_fraction == pytest.approx(
            1 - np.count_nonzero(linear.trits) / (record.n * linear.covered.sum())
        )
