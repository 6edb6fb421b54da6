"""Claims: a redraw ends after the run that its limit falls into, says what is missing, and the next one goes on."""

import threading
from http import HTTPStatus

import pytest

from energy.explorer import answers, limit
from energy.explorer.answers import answer_of, drawn
from energy.explorer.limit import limited
from energy.explorer.server import Explorer, reply_to
from energy.explorer.state import RIVALS, State, address

BASE = State.default()._replace(model="stories260K", prompt=64, array="16x16")


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    """Runs and answers of other tests."""
    monkeypatch.setattr(answers, "_runs", type(answers._runs)())
    answer_of.cache_clear()
    answers.difference_between.cache_clear()


def whole_after(state):
    """Drawings of ``state`` until one is whole, no run being begun but each one's first."""
    found = []
    with limited(lambda _: True):
        while not (found and found[-1].is_whole):
            found.append(drawn(state))
            assert len(found) < 50
    return found


@pytest.mark.parametrize("hold", ["lanes", "area", "power"])
def test_drawings_of_one_run_each_end_with_the_whole_answer(hold):
    state = BASE._replace(hold=hold)
    found = whole_after(state)
    first, *_, last = found
    assert [machine.mac for machine in first.summary.machines] == ["ternary"]
    assert first.missing == tuple(RIVALS.split(","))
    missing = [len(one.missing) for one in found]
    assert missing == sorted(missing, reverse=True)
    assert (last.missing, len(found) > 4) == ((), True)
    machines = [one.summary.machines for one in found]
    assert all(one == machines[-1][: len(one)] for one in machines)  # what is drawn early is drawn right
    answers._runs.clear()
    answer_of.cache_clear()
    assert answer_of(state) == last


def test_without_a_limit_nothing_is_missing():
    assert drawn(BASE).is_whole


def test_a_run_is_expected_to_take_longer_on_fewer_lanes(monkeypatch):
    """By hand: 2 s on 64 lanes, then on 32 lanes 4 s are expected, whatever a quicker run took in between."""
    clock = iter([0.0, 2.0, 10.0, 10.5])
    monkeypatch.setattr(limit.time, "perf_counter", lambda: next(clock))
    expected = []

    def is_over(seconds):
        expected.append(seconds)
        return seconds > 3

    with limited(is_over), limit.counted_runs() as runs:
        for lanes in (64, 128):
            limit.run(None, lanes, object)
        with pytest.raises(limit.Overtime):
            limit.run(None, 32, object)
        assert limit.run("recalled", 1, object) == "recalled"
    assert expected == [1.0, 4.0]
    assert (runs.made, len(runs.finished)) == (2, 3)


def test_what_is_missing_is_said_and_nothing_is_said_of_savings():
    with limited(lambda _: True):
        reply = reply_to("/redraw", address(BASE))
    assert not reply.whole
    assert reply.body.count(">being simulated<") == 3 * 5  # rivals in four figures and the area
    assert "Rivals are being simulated" in reply.body
    assert "no rival" not in reply.body
    whole = reply_to("/result", address(BASE))
    assert whole.whole
    assert "being simulated" not in whole.body
    assert whole.body.count("<svg") == reply.body.count("<svg")


def test_two_designs_stand_side_by_side_before_their_rivals():
    with limited(lambda _: True):
        body = reply_to("/redraw", address(BASE._replace(batch=2), BASE)).body
    assert "Beside the pinned design" in body


def test_the_map_gives_way_to_a_newer_request():
    with limited(lambda _: True):
        drawn(BASE)
        reply = reply_to("/map", address(BASE))
    assert (reply.status, reply.body, reply.whole) == (HTTPStatus.NO_CONTENT, "", False)


def test_the_rest_of_a_redraw_gives_way_and_a_lone_one_does_not(monkeypatch):
    """While another request waits, what follows a redraw is begun no further; the waiting one is served."""
    with Explorer("127.0.0.1", 0) as server:
        assert server.reply("/result", address(BASE)).whole
        started, go = threading.Event(), threading.Event()
        original = answers.simulate_machines

        def slow(*arguments):
            started.set()
            go.wait(60)
            return original(*arguments)

        monkeypatch.setattr(answers, "simulate_machines", slow)
        replies = {}

        def ask(name, path, state):
            replies[name] = server.reply(path, address(state))

        first = threading.Thread(target=ask, args=("rest", "/result", BASE._replace(batch=4)))
        first.start()
        assert started.wait(60)
        second = threading.Thread(target=ask, args=("newer", "/result", BASE._replace(batch=8)))
        second.start()
        while not server._waiting:
            started.wait(0.01)
        go.set()
        first.join()
        second.join()
    assert (replies["rest"].whole, replies["newer"].whole) == (False, True)
