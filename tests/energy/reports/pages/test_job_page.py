"""The main job's page as text: links lead somewhere, a collapse has a banner, new parts and causes need no new code."""

import html
import re

import pytest

from energy.costs.tables import Cost
from energy.findings import find
from energy.job import Job, Rivals, simulate_machines
from energy.reports.pages.document import provenance
from energy.reports.pages.job import job_html
from energy.reports.pages.limits import limits
from energy.summary import Quality
from quant.shapes import load_shape

SHAPE = load_shape("stories260K")


def made(**fields):
    job, rivals = Job(model="stories260K", array="8x8", prefill=8, **{"decode": 2} | fields), Rivals(rivals="int8")
    summary, results = simulate_machines(job, SHAPE, None, rivals)
    return summary, results, find(job, SHAPE, None, rivals, summary, results, ["--model", "stories260K"])


@pytest.fixture(scope="module")
def one():
    return made()


def page(summary, results, findings):
    return job_html(summary, results, findings, provenance(["tritforge", "sim"], {"shape": "0" * 64}))


def test_every_mark_and_link_leads_to_an_anchor_of_the_page(one):
    text = page(*one)
    links, anchors = set(re.findall(r'href="#([^"]+)"', text)), re.findall(r'id="([^"]+)"', text)
    assert {"assumption-dram", "assumption-operands-decode"} <= links
    assert links <= set(anchors)
    assert len(anchors) == len(set(anchors))


def test_assumptions_stand_by_the_energy_that_they_price(one):
    priced = [max(row.shares.values()) for row in one[2].assumptions if row.shares]
    assert priced == sorted(priced, reverse=True)
    assert len(priced) > 5


def test_operands_that_were_measured_have_no_mark(one):
    summary, results, findings = one
    measured = {name: value.model_copy(update={"measured": True}) for name, value in summary.statistics.items()}
    text = page(summary.model_copy(update={"statistics": measured}), results, findings)
    assert 'href="#assumption-operands' not in text


@pytest.mark.parametrize(("after", "banner"), [(150.0, False), (700.0, True)])
def test_weights_whose_perplexity_collapsed_have_a_banner(one, after, banner):
    summary, results, findings = one
    scores = {"fp": 110.0, "fp_a8": 115.0, "a16": after, "a8": after}
    fields = {"method": "rtn", "true_bits": 1.7, "zero_fraction": 0.3, "text": "prose", "calibration": "words"}
    text = page(summary.model_copy(update={"quality": Quality(**fields, perplexity=scores)}), results, findings)
    assert ("These weights are not to be used" in text) is banner
    assert f"{after:.4g}" in text


def test_a_part_and_a_cause_that_are_new_have_colour_legend_and_table_column(one):
    summary, results, findings = one
    machines = []
    for machine in summary.machines:
        phases = []
        for phase in machine.phases:
            ops = [op.model_copy(update={"causes": op.causes | {"arbiter_stall": op.cycles}}) for op in phase.ops]
            fields = {"causes": phase.causes | {"arbiter_stall": phase.cycles // 4}, "ops": ops}
            fields |= {"joules_per_token": phase.joules_per_token | {"crossbar": Cost(1e-7, 2e-7, 3e-7)}}
            phases.append(phase.model_copy(update=fields))
        machines.append(machine.model_copy(update={"phases": phases}))
    text = page(summary.model_copy(update={"machines": machines}), results, findings)
    assert re.search(r'<li><i class="other-\d"></i>arbiter stall</li>', text)
    assert re.search(r'<li><i class="other-\d"></i>crossbar</li>', text)
    assert re.search(r'<th scope="col">arbiter stall</th>', text)
    assert "crossbar: 200\u202fnJ" in text


@pytest.mark.parametrize("fields", [{"decode": 0}, {"mixed_chunk": 4}, {"costs": "bitnet-7nm"}, {"cores": 2}])
def test_other_jobs_have_a_page_too(fields):
    summary, results, findings = made(**fields)
    text = page(summary, results, findings)
    assert text.count("<figcaption>Latency of ") == len(summary.ternary.phases)
    assert "None" not in re.sub(r"<(style|script)>.*?</\1>", "", text, flags=re.DOTALL)


def test_names_that_are_markup_are_text(one):
    summary, results, findings = one
    text = page(summary.model_copy(update={"model": "<b>&x", "memory": '"><script>'}), results, findings)
    assert "&lt;b&gt;&amp;x" in text
    assert "<script>" not in text.replace("\n<script>\n", "", 1)
    assert html.unescape("&#34;&gt;&lt;script&gt;") in html.unescape(text)


def test_what_is_not_modelled_follows_the_parts_that_are():
    assert not any("Wires" in line for line in limits(["array", "wires"]))
    assert any("Wires" in line for line in limits(["array", "clock"]))
