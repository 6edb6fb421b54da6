"""Claims: fragments show what ``simulate_machines`` computes, refusals say why, other host names are turned away."""

import http.client
import json
import re
import threading
from http import HTTPStatus

import pytest
import yaml

from energy.explorer.answers import answer_of, difference_between, why_not
from energy.explorer.server import Explorer, reply_to
from energy.explorer.state import RIVALS, State, address
from energy.job import Job, Rivals, simulate_machines
from energy.reports.numbers import significant
from energy.study.document import Study
from hw.document import validate_document
from quant.shapes import load_shape

SMALL = State.default()._replace(model="stories260K", prompt=64, array="16x16")


def expected(**rivals):
    job = Job(model="stories260K", prefill=64, array="16x16", kv_bits=8)
    rivals = Rivals(rivals=RIVALS, rival_bus="balanced", **rivals)
    return simulate_machines(job, load_shape(job.model), None, rivals)[0]


def test_a_fragment_has_the_numbers_of_the_job():
    summary, body = expected(), reply_to("/result", address(SMALL)).body
    for machine in summary.machines:
        assert significant(machine.phase("decode").tokens_per_s) in body
        assert f"{significant(machine.area.total.typical)} mm²" in body
    assert body.count("<svg") == 7
    assert json.loads(reply_to("/design.json", address(SMALL)).body) == summary.model_dump(mode="json")


def test_recalled_runs_are_those_of_the_state_that_asks():
    """After another share of zeros, other costs and another hold, each differs in nothing but what it says."""
    before = answer_of(SMALL).summary
    zeros, costs, held = (
        answer_of(SMALL._replace(**change)).summary
        for change in ({"zeros": 0.9}, {"costs": "bitnet-7nm"}, {"hold": "area"})
    )
    assert held.machines[1].size == expected(hold="area").machines[1].size != before.machines[1].size
    assert costs.ternary.phase("decode").cycles == before.ternary.phase("decode").cycles
    one, other = (summary.ternary.phase("decode").joules_per_token["array"].typical for summary in (zeros, before))
    assert one < other
    assert answer_of(SMALL).summary == before


def test_two_designs_stand_side_by_side_with_terms_that_sum():
    wide = SMALL._replace(array="64x32")
    body = reply_to("/result", address(wide, SMALL)).body
    for state in (wide, SMALL):
        assert significant(answer_of(state).summary.ternary.phase("decode").tokens_per_s) in body
    assert "<b>this design is better than pinned in " in body
    decode = difference_between(SMALL, wide).phases[-1]
    for quantity in (decode.latency, decode.energy):
        assert sum(term.difference for term in quantity.terms) == pytest.approx(quantity.b - quantity.a)


def test_a_machine_that_cannot_be_says_why_and_what_helps():
    reply = reply_to("/result", "kv=digits-5-5")
    assert (reply.status, reply.refused) == (HTTPStatus.OK, True)
    assert "key_digits must be at most 4" in reply.body
    assert 'href="/?kv=digits-4-4"' in reply.body
    refused = why_not(State.default())
    assert [one.value for one in refused["kv"]] == ["digits-5-5"]
    assert {one.value for one in refused["memory"]} == {"ddr3-1600", "sdr-100", "sdr-143"}
    assert "must hold 1.686 GiB" in refused["memory"][0].reason


@pytest.mark.parametrize("path", ["/design.json", "/study.yaml", "/report", "/map", "/why"])
def test_the_api_answers_400_with_one_line(path):
    reply = reply_to(path, "batch=0")
    assert reply.status == HTTPStatus.BAD_REQUEST
    assert json.loads(reply.body)["error"].startswith("batch must be a whole number from 1 to 128, not '0'")


@pytest.mark.parametrize("path", ["/", "/result"])
def test_a_page_with_a_faulty_address_shows_the_line(path):
    reply = reply_to(path, "model=%3Cscript%3E")
    assert reply.status == HTTPStatus.BAD_REQUEST
    assert "not &#39;&lt;script&gt;&#39;" in reply.body
    assert "<script>" not in reply.body


def test_the_page_marks_defaults_and_holds_its_state():
    body = reply_to("/", address(SMALL)).body
    assert re.search(r'<option value="stories260K" selected>', body)
    assert len(re.findall(r"\(default\)</option>", body)) + len(re.findall(r"· default ", body)) == 9


def test_the_study_is_one_and_holds_the_design():
    text = reply_to("/study.yaml", address(SMALL._replace(zeros=0.5, hold="area"))).body
    document = yaml.safe_load(text)
    assert document.pop("schema") == Study.file_schema
    study = validate_document(document, Study, "test")
    assert (study.base.prefill, study.base.zero_fraction, study.base.hold) == (64, 0.5, "area")
    assert {"array": "16x16", "memory": "lpddr5-6400"} in list(study.combinations())


def test_paths_that_are_none_are_not_looked_for():
    for path in ("/../pyproject.toml", "/explorer.py", "/templates/explorer.html", "//etc/passwd"):
        assert reply_to(path, "").status == HTTPStatus.NOT_FOUND


@pytest.fixture(scope="module")
def server():
    with Explorer("127.0.0.1", 0) as one:
        threading.Thread(target=one.serve_forever, daemon=True).start()
        yield one
        one.shutdown()


def asked(server, host, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=60)
    connection.request(method, f"/why?{address(SMALL)}", headers={"Host": host} if host else {})
    return connection.getresponse()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8765", "10.0.0.1", "[::1", "localhost.evil"])
def test_other_hosts_are_turned_away(server, host):
    assert asked(server, host).status == HTTPStatus.MISDIRECTED_REQUEST


@pytest.mark.parametrize("host", ["", "localhost:8765", "127.0.0.1", "[::1]:1"])
def test_its_own_names_are_answered_and_nothing_may_be_loaded_from_elsewhere(server, host):
    reply = asked(server, host)
    assert reply.status == HTTPStatus.OK
    assert "default-src 'none'" in reply.headers["Content-Security-Policy"]
    assert float(reply.headers["X-Draw-Ms"]) >= 0


def test_nothing_but_get(server):
    assert asked(server, "localhost", "POST").status == HTTPStatus.NOT_IMPLEMENTED


def test_a_port_that_is_taken_is_one_line(server):
    from hw.errors import InputError

    with pytest.raises(InputError, match=r"host and port must be free to listen on, not 127.0.0.1:\d+ .*--port"):
        Explorer("127.0.0.1", server.server_address[1])
