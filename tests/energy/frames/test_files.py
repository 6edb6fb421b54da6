"""Tables of finished results: what pandas, polars and pyarrow read back is what was simulated and recorded."""

import csv
import json

import numpy as np
import pytest

from energy.console import main as console
from energy.frames.files import write_rows
from energy.frames.phases import phase_rows
from energy.frames.rows import read_rows
from energy.job import Job, simulate_machines
from hw.errors import InputError
from quant.recording import LinearRecord, OperandStatistics, Recording, recording_rows, write_recording
from quant.shapes import load_shape
from sim.result import read_result

pa = pytest.importorskip("pyarrow")
JOB = {"model": "stories260K", "array": "16x16", "prefill": 4, "decode": 2}


def main():
    with pytest.raises(SystemExit) as done:
        console()
    assert done.value.code == 0


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What ``tritforge sim`` leaves."""
    folder = tmp_path_factory.mktemp("run") / "job"
    words = [word for name, value in JOB.items() for word in (f"--{name}", str(value))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["tritforge", "sim", *words, "--out", str(folder)])
        main()
    return folder


def table(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["tritforge", "table", *map(str, words)])
    main()


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_pandas_polars_and_pyarrow_read_every_op_of_every_machine(folder, tmp_path, monkeypatch, suffix):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    path = tmp_path / f"ops.{suffix}"
    table(monkeypatch, folder, "--out", path)
    runs = [read_result(folder / f"sim-{mac}.json") for mac in ("ternary", "fp16", "int8")]
    ops = [(run, phase, op) for run in runs for phase in run.phases for op in phase.ops]
    if suffix == "parquet":
        import pyarrow.parquet as pq

        frames = [pandas.read_parquet(path), polars.read_parquet(path), pq.read_table(path)]
    else:
        frames = [pandas.read_feather(path), polars.read_ipc(path), pa.ipc.open_file(path).read_all()]
    for frame in frames:
        columns = (
            frame.to_pydict() if isinstance(frame, pa.Table) else {name: list(frame[name]) for name in frame.columns}
        )
        assert columns["op"] == [op.name for _, _, op in ops]
        assert columns["arithmetic"] == [run.array.mac for run, _, _ in ops]
        assert columns["cycles"] == [op.cycles for _, _, op in ops]
        assert columns["cycles_dram_stall"] == [op.causes["dram_stall"] for _, _, op in ops]
        assert columns["dram_read_bits"] == [op.counts.dram_read_bits for _, _, op in ops]
        assert type(columns["phase"][0]) is str


def test_a_frame_of_the_rows_is_one_line(folder):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    ops = pandas.DataFrame(read_rows(folder))
    phases = polars.DataFrame(read_rows(folder, "phases"))
    cycles = ops[(ops.arithmetic == "ternary") & (ops.phase == "decode")].cycles.sum()
    (row,) = phases.filter((polars.col("arithmetic") == "ternary") & (polars.col("phase") == "decode")).to_dicts()
    assert row["cycles"] == cycles


def test_phases_have_the_joules_of_the_summary(folder, tmp_path, monkeypatch):
    import pyarrow.parquet as pq

    summary, _ = simulate_machines(Job(**JOB), load_shape("stories260K"))
    table(monkeypatch, folder / "energy.json", "--out", tmp_path / "phases.parquet")
    rows = pq.read_table(tmp_path / "phases.parquet").to_pylist()
    assert rows == phase_rows(summary)
    for row in rows:
        parts = [name for name in row if name.startswith("j_") and not name.endswith(("_low", "_high", "_total"))]
        assert sum(row[name] for name in parts) == pytest.approx(row["j_total"], rel=1e-9)
        assert row["j_total_low"] <= row["j_total"] <= row["j_total_high"]


@pytest.fixture
def recording(tmp_path):
    rng = np.random.default_rng(5)
    still = OperandStatistics(toggle_rate=0.25, input_toggle_rate=0.5)
    linears = [
        LinearRecord(
            layer=0, kind=kind, input=f"layers.0.{name}", n=3, k=k, planes=1, group=k, sums_sha256="0",
            zero_fraction=0.3, prefill=still, decode=still,
        )
        for kind, name, k in (("gate_proj", "mlp_in", 6), ("up_proj", "mlp_in", 6), ("down_proj", "mlp_out", 9))
    ]  # fmt: skip
    inputs = {
        f"layers.0.{name}": (rng.integers(-127, 128, (4, k), dtype=np.int8), rng.random(4, dtype=np.float32))
        for name, k in (("mlp_in", 6), ("mlp_out", 9))
    }
    made = Recording("tiny", "rtn", "words", "0", linears, inputs)
    write_recording(tmp_path, made)
    return tmp_path, made


def test_a_renamed_recording_is_read_itself_and_not_its_sibling(recording):
    folder, made = recording
    for suffix in (".json", ".safetensors"):
        (folder / f"recording{suffix}").rename(folder / f"first{suffix}")
    write_recording(folder, made._replace(inputs={name: (q // 2, scale) for name, (q, scale) in made.inputs.items()}))

    def values(source):
        return [row["q"].tolist() for row in read_rows(source)]

    assert values(folder / "first.json") == [row["q"].tolist() for row in recording_rows(made)]
    assert values(folder / "first.json") != values(folder / "recording.json") == values(folder)
    (folder / "first.safetensors").unlink()
    with pytest.raises(InputError, match=r"first\.safetensors: cannot be read"):
        read_rows(folder / "first.json")


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
def test_a_recordings_tensors_come_back_bit_for_bit(recording, monkeypatch, suffix):
    polars = pytest.importorskip("polars")
    folder, made = recording
    path = folder / f"recording.{suffix}"
    table(monkeypatch, folder, "--out", path)
    frame = polars.read_parquet(path) if suffix == "parquet" else polars.read_ipc(path)
    assert frame.schema["q"] == polars.List(polars.Int8)
    for name, (q, scale) in made.inputs.items():
        own = frame.filter(polars.col("input") == name).sort("token")
        assert np.array_equal(np.array(own["q"].to_list(), dtype=np.int8), q)
        assert np.array_equal(own["scale"].to_numpy().astype(np.float32), scale)
    assert set(frame["linears"]) == {"gate_proj,up_proj", "down_proj"}


def test_points_of_a_study_are_those_of_its_csv(tmp_path, monkeypatch):
    study = tmp_path / "two.yaml"
    study.write_text(
        "schema: tritforge.whatif.1\nname: two\ndescription: two arrays\n"
        "base: {model: stories260K, prefill: 4, decode: 2, attention: vector}\n"
        "axes: {array: [8x8, 16x16], memory: [ddr4-2400]}\nminimize: [first_token_s, decode_j_per_token]\n"
    )
    monkeypatch.setattr(
        "sys.argv", ["tritforge", "whatif", "--study", str(study), "--out", str(tmp_path / "out"), "--processes", "1"]
    )
    main()
    table(monkeypatch, tmp_path / "out", "--out", tmp_path / "points.csv")
    with (tmp_path / "points.csv").open() as ours, (tmp_path / "out" / "points.csv").open() as theirs:
        found, expected = list(csv.DictReader(ours)), list(csv.DictReader(theirs))
    assert len(found) == 2
    for one, other in zip(found, expected, strict=True):
        assert one == {name: other[name] for name in one}


def test_kinds_of_a_mixed_column_are_told_and_what_a_row_lacks_is_null(tmp_path):
    import pyarrow.parquet as pq

    rows = [{"a": 1, "b": 1, "c": "x"}, {"a": 2.5, "b": "two"}, {"a": None, "b": True, "c": "y"}]
    write_rows(tmp_path / "mixed.parquet", rows)
    read = pq.read_table(tmp_path / "mixed.parquet")
    assert read.to_pydict() == {"a": [1.0, 2.5, None], "b": ["1", "two", "True"], "c": ["x", None, "y"]}


def test_each_refusal_names_the_way_out(folder, recording, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"^.*: must hold study\.json: a folder that sim, whatif or quant wrote$"):
        read_rows(folder, "points")
    with pytest.raises(InputError, match=r"energy\.json: holds phases, not ops; leave kind out, or give the folder"):
        read_rows(folder / "energy.json", "ops")
    with pytest.raises(InputError, match=r"cannot be read as JSON"):
        read_rows(folder / "report.md")
    other = tmp_path / "other.json"
    other.write_text(json.dumps({"schema": "tritforge.claims"}))
    with pytest.raises(InputError, match=r"schema must be one of tritforge\.sim, .*, not 'tritforge\.claims'; give"):
        read_rows(other)
    with pytest.raises(InputError, match=r"^out must end in \.parquet or \.arrow, not \.csv, .* arrays of 'q'$"):
        write_rows(tmp_path / "x.csv", read_rows(recording[0]))
    assert not (tmp_path / "x.csv").exists()
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(InputError, match=r"pip install 'tritforge\[studies\]', or let out end in \.csv"):
        write_rows(tmp_path / "x.parquet", [{"a": 1}])
