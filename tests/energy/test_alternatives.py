"""Rivals of other holds: a row holds the typical figures of the machine that it names."""

from energy.alternatives import _row
from energy.job import Job, Rivals, simulate_machines
from quant.shapes import load_shape


def test_a_row_is_what_the_run_says_of_its_machine():
    job = Job(model="stories260K", array="8x8", prefill=8, decode=2, costs="gates:asap7")
    summary, _ = simulate_machines(job, load_shape(job.model), None, Rivals(rivals="int8,fp16"))
    for number, machine in enumerate(summary.machines):
        row = _row(summary, number, "lanes", "tritforge sim")
        prefill, decode = machine.phases
        assert (row.mac, row.size, row.hold, row.command) == (machine.mac, "8x8", "lanes", "tritforge sim")
        assert machine.area.total.low < row.area_mm2 == machine.area.total.typical < machine.area.total.high
        joules = prefill.total_j_per_token, decode.total_j_per_token
        assert (row.prefill_j_per_token, row.decode_j_per_token) == tuple(cost.typical for cost in joules)
        assert all(cost.low < cost.typical < cost.high for cost in joules)
        assert (row.prefill_s, row.decode_tokens_per_s) == (prefill.seconds, decode.tokens_per_s)
