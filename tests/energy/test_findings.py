"""Findings of a job are those of its first machine."""

from energy.findings import find
from energy.job import Job, Rivals, simulate_machines
from quant.shapes import load_shape


def test_what_is_explained_is_the_ternary_machine():
    job = Job(model="stories260K", array="8x8", prefill=8, decode=2)
    shape, rivals = load_shape(job.model), Rivals(rivals="fp16")
    summary, results = simulate_machines(job, shape, None, rivals)
    found = find(job, shape, None, rivals, summary, results, ["--model", "stories260K"])
    cycles = [[phase.cycles for phase in result.phases] for result in results]
    assert cycles[0] != cycles[1]
    assert [one.cycles for one in found.explanations] == cycles[0]
