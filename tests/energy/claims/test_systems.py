"""Claims: cells of whole machines are those of a plain run; what cannot be sized keeps its reason; the GPU's row."""

import pytest

from energy.claims import gpu, systems
from energy.claims.systems import Point, system_rows
from energy.job import Job, Rivals, simulate_machines
from energy.model import COMPUTE
from hw.errors import InputError
from quant.shapes import load_shape


def quiet(*_):
    pass


def test_a_cell_is_one_minus_the_ratio_of_two_runs(monkeypatch):
    monkeypatch.setattr(systems, "RIVALS", ("int8",))
    rows = {row.hold: row for row in system_rows((Point("llama3.2-1b", 64, 2),), quiet)}
    assert list(rows) == ["lanes", "compute-area", "area", "power", "bandwidth"]
    job = Job(model="llama3.2-1b", prefill=64, decode=128, batch=2, kv_bits=8)
    summary, _ = simulate_machines(job, load_shape("llama3.2-1b"), None, Rivals(rivals="int8", rival_bus="balanced"))
    ternary, rival = summary.machines
    for phase in ("prefill", "decode"):
        mine, other = ternary.phase(phase), rival.phase(phase)
        assert rows["lanes"].latency[phase] == pytest.approx(1 - mine.seconds / other.seconds)
        energies = [
            [sum(cost.typical for part, cost in one.joules_per_token.items() if part in parts) for one in (mine, other)]
            for parts in (COMPUTE, tuple(mine.joules_per_token))
        ]
        assert rows["lanes"].compute_energy[phase] == pytest.approx(1 - energies[0][0] / energies[0][1])
        assert rows["lanes"].system_energy[phase] == pytest.approx(1 - energies[1][0] / energies[1][1])
    assert rows["lanes"].size == "64x64" != rows["area"].size


def test_what_cannot_be_sized_says_why(monkeypatch):
    monkeypatch.setattr(systems, "RIVALS", ("fp16",))

    def refuse(*_):
        raise InputError("hold area: fp16 must fit area of 1 mm2, but 1x1 lanes take 2 mm2")

    monkeypatch.setattr(systems, "simulate_machines", refuse)
    row = next(system_rows((Point("llama3.2-1b", 64, 1),), quiet))
    assert row.latency == row.system_energy == {}
    assert "1x1 lanes take 2 mm2" in row.reason


def test_points_can_be_run():
    for point in systems.POINTS:
        assert load_shape(point.model).max_positions >= point.context + 128


def test_machines_beside_the_gpu_have_its_context_batch_and_cache(monkeypatch):
    """Watts are joules per token times tokens per second, of a small model in the large one's place here."""
    asked = []
    tiny = Job(model="stories260K", array="8x8", prefill=8, decode=2)
    summary, _ = simulate_machines(tiny, load_shape("stories260K"), None, Rivals(rivals="fp16"))
    monkeypatch.setattr(gpu, "simulate_machines", lambda *given: asked.append(given) or (summary, []))
    rows = list(gpu.gpu_rows())
    jobs = {(job.prefill, job.batch): job for job, *_ in asked}
    assert len(jobs) == len(asked) == len({(row.context, row.batch) for row in rows})
    for (context, batch), job in jobs.items():
        assert job == Job(
            model="llama2-7b", array="server-128x128", memory="hbm3-6400", prefill=context, decode=128, batch=batch,
            kv_bits=16,
        )  # fmt: skip
    for _, shape, measured, rivals in asked:
        assert (shape.name, measured, rivals) == ("llama2-7b", None, Rivals(rivals="fp16", rival_bus="balanced"))
    for first, ternary, rival in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        assert first.machine.endswith(", FP16")
        for row, machine in zip((ternary, rival), summary.machines, strict=True):
            phase = machine.phase(first.phase)
            assert (row.machine, row.phase) == (f"server-128x128, {machine.mac}", first.phase)
            assert (row.context, row.batch) == (first.context, first.batch)
            assert row.watts == pytest.approx(phase.total_j_per_token.typical * phase.tokens_per_s)
            assert row.j_per_token == pytest.approx(phase.total_j_per_token.typical)


@pytest.mark.slow
def test_simulated_machines_stand_behind_each_measurement_of_the_gpu():
    rows = list(gpu.gpu_rows())
    assert len(rows) == 3 * 6
    measured = rows[2 * 3]
    assert (measured.kind, measured.phase, measured.context, measured.batch) == ("measured", "decode", 512, 1)
    assert measured.j_per_token == pytest.approx(406.5 / 144.9)
    for first in range(0, len(rows), 3):
        places = {(row.phase, row.context, row.batch) for row in rows[first : first + 3]}
        assert len(places) == 1
        assert [row.kind for row in rows[first : first + 3]] == ["measured", "simulated", "simulated"]
