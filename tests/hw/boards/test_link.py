"""The host program against the simulated link: right sums and cycles, and no fault of the line that harms them."""

import numpy as np
import pytest

from hw.config import ArrayConfig
from hw.golden import gemm, tiles
from hw.host.line import LinkError
from hw.host.protocol import Code, Frame, FrameReader, Kind, encode, sum_bytes
from hw.host.selftest import Case, cases, run_case
from hw.host.session import Session
from tests.hw.boards.simulated import GAP_CYCLES, SMALL, LinkLine


def random_case(seed: int, m: int, n: int, k: int) -> Case:
    rng = np.random.default_rng(seed)
    return Case("random", rng.integers(-127, 128, (m, k), dtype=np.int8), rng.integers(-1, 2, (n, k), dtype=np.int8))


def exchange(line: LinkLine, frame: Frame, timeout_s: float = 0.2) -> Frame | None:
    """One raw frame and its answer."""
    line.write(encode(frame))
    return next(iter(FrameReader().feed(line.read_all(timeout_s))), None)


@pytest.fixture
def line() -> LinkLine:
    return LinkLine()


def test_the_self_test_passes_and_its_cycles_are_those_of_an_array_that_never_waits(line):
    """`docs/architecture.md`: B + 1 + sum of max(m_j, B) over all tiles but the last + m of the last + latency."""
    session = Session(line)
    for case in cases(session.config):
        verdict = run_case(session, case)
        assert verdict.fault == ""
        beats = SMALL.weight_beats
        tokens = [
            t.stop - t.start
            for t, _, _ in tiles(verdict.m, verdict.n, verdict.k, SMALL.token_tile, SMALL.cols, SMALL.rows)
        ]
        ideal = beats + 1 + sum(max(m, beats) for m in tokens[:-1]) + tokens[-1] + SMALL.pipeline_latency
        assert verdict.counters["cycles"] == ideal
    assert session.repetitions == 0


def test_a_product_larger_than_every_buffer_streams_through(line):
    verdict = run_case(Session(line), random_case(1, 9, 5, 30))
    assert verdict.fault == ""
    assert verdict.counters["input_stall"] + verdict.counters["weight_stall"] > 0


@pytest.mark.parametrize("position", range(9))  # every byte of the frame
def test_a_flipped_bit_on_the_way_in_costs_a_repetition(line, position):
    session = Session(line)
    faults = iter([True])

    def damage(data: bytes) -> bytes:
        if data[1] == Kind.WEIGHTS and next(faults, False):
            return data[:position] + bytes([data[position] ^ 0x10]) + data[position + 1 :]
        return data

    line.to_device = damage
    assert run_case(session, random_case(2, 2, 2, 8)).fault == ""
    assert session.repetitions >= 1


@pytest.mark.parametrize("kind", [Kind.WEIGHTS, Kind.ACTIVATIONS, Kind.START, Kind.RESULTS])
def test_a_lost_answer_is_repeated_and_the_request_is_not_carried_out_twice(line, kind):
    session = Session(line)
    faults = iter([True])

    def lose(data: bytes) -> bytes:
        if len(data) > 1 and data[1] == kind | 0x80 and next(faults, False):
            return b""
        return data

    line.to_host = lose
    assert run_case(session, random_case(3, 3, 2, 8)).fault == ""
    assert session.repetitions == 1


def test_a_line_that_damages_one_frame_in_five_still_computes(line):
    rng = np.random.default_rng(4)
    session = Session(line, timeout_s=0.05)

    def flip(data: bytes) -> bytes:
        if data and rng.random() < 0.2:
            i = int(rng.integers(len(data)))
            return data[:i] + bytes([data[i] ^ 1 << int(rng.integers(8))]) + data[i + 1 :]
        return data

    line.to_device = line.to_host = flip
    assert run_case(session, random_case(5, 5, 3, 20)).fault == ""
    assert session.repetitions > 3


def test_a_frame_that_stops_in_the_middle_is_given_up(line):
    Session(line)
    line.write(encode(Frame(Kind.STATUS, 9, b"x" * 30))[:20])
    answer = next(iter(FrameReader().feed(line.read_all(2 * GAP_CYCLES / 20_000))))
    assert answer.payload == bytes([Code.DAMAGED])
    assert exchange(line, Frame(Kind.STATUS, 10, b"")).payload[0] == Code.OK


@pytest.mark.parametrize(
    ("kind", "payload", "code"),
    [
        (99, b"", Code.UNKNOWN_KIND),
        (Kind.ACTIVATIONS, b"123", Code.BAD_LENGTH),
        (Kind.ACTIVATIONS, b"", Code.BAD_LENGTH),
        (Kind.START, bytes(18), Code.BAD_LENGTH),
        (Kind.ACTIVATIONS, bytes(4 * 17), Code.BUSY),  # the buffer holds 16
    ],
)
def test_requests_that_cannot_be_carried_out_leave_no_trace(line, kind, payload, code):
    session = Session(line)
    assert exchange(line, Frame(kind, 77, payload)) == Frame(kind | 0x80, 77, bytes([code]))
    status = session.status()
    assert (status.weight_words, status.activation_vectors, status.running) == (0, 0, False)
    assert run_case(session, random_case(6, 2, 2, 4)).fault == ""


def test_a_new_session_clears_what_an_abandoned_one_left(line):
    session = Session(line)
    session._try(Kind.WEIGHTS, bytes(8))
    session._try(Kind.START, b"".join(size.to_bytes(3, "little") for size in (5, 2, 40)))
    session._try(Kind.ACTIVATIONS, bytes(8))
    assert session.status().running
    again = Session(line)
    assert not again.status().running
    assert run_case(again, random_case(7, 2, 3, 9)).fault == ""


def test_a_new_session_sees_no_result_that_nobody_fetched(line):
    """Results that filled their buffer, and the one behind them in a register."""
    session, abandoned = Session(line), random_case(8, 24, 2, 4)
    for kind, payload in session._stream(abandoned.q, abandoned.trits):
        if session._try(kind, payload) is None:
            session._try(Kind.START, b"".join(size.to_bytes(3, "little") for size in (24, 2, 4)))
            session._try(kind, payload)
    status = session.status()
    assert status.running
    assert status.result_beats >= session.hello.result_beats - 2
    again = Session(line)
    assert again._ask(Kind.RESULTS) == b""
    assert run_case(again, random_case(9, 3, 2, 4)).fault == ""


def test_an_answer_holds_all_the_results_that_wait(line):
    """The buffer shows its next word some edges after one was taken, and the copier waits for it."""
    session, case = Session(line), random_case(10, 5, 2, 4)
    session._try(Kind.START, b"".join(size.to_bytes(3, "little") for size in (5, 2, 4)))
    for kind, payload in session._stream(case.q, case.trits):
        session._try(kind, payload)
    assert session.status().result_beats == 5
    answer = session._ask(Kind.RESULTS)
    assert len(answer) == 5 * SMALL.cols * sum_bytes(SMALL)
    sums = np.array([int.from_bytes(answer[i : i + 3], "little", signed=True) for i in range(0, len(answer), 3)])
    np.testing.assert_array_equal(sums.reshape(5, SMALL.cols)[:, :2], case.q.astype(int) @ case.trits.T)


def test_illegal_trits_are_reported(line):
    session = Session(line)
    line.to_device = lambda data: data.replace(*_illegal_weights(data))
    with pytest.raises(LinkError, match=r"^the device received a trit code that is never written"):
        session.gemm(np.ones((1, 4), np.int8), np.ones((2, 4), np.int8))


def _illegal_weights(data: bytes) -> tuple[bytes, bytes]:
    if data[1] != Kind.WEIGHTS:
        return b"", b""
    payload = b"\xaa" * (len(data) - 7)
    return data, encode(Frame(data[1], data[2], payload))


def test_k_beyond_the_accumulator_is_refused_before_anything_is_sent(line):
    session = Session(line)
    sent = len(line.writes)
    k = SMALL.max_k + 1
    with pytest.raises(ValueError, match=rf"^GEMM: K = {k} needs accumulator_bits"):
        session.gemm(np.zeros((1, k), np.int8), np.zeros((1, k), np.int8))
    assert len(line.writes) == sent


class Dead:
    """A line on which ``answer`` comes whatever is said."""

    def __init__(self, answer: bytes):
        self.answer = answer

    def write(self, data: bytes) -> None:
        pass

    def read(self, timeout_s: float) -> bytes:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "words"), [(b"", "nothing came; is the board configured"), (b"\x00\xff\x54", "none of them an answer")]
)
def test_silence_and_chatter_end_with_what_to_check(answer, words):
    with pytest.raises(LinkError, match=f"^no answer to HELLO in 5 tries: .*{words}"):
        Session(Dead(answer))


def test_wrong_sums_are_not_hidden(line, monkeypatch):
    session = Session(line)
    monkeypatch.setattr("hw.host.selftest.gemm", lambda q, trits: gemm(q, trits) + 1)
    assert run_case(session, random_case(8, 1, 2, 4)).fault.startswith("2 sums differ, first token 0 output 0: ")


def test_the_self_test_holds_an_edge_a_fold_and_a_token_tile_more_than_the_array():
    config = ArrayConfig(name="8x4", rows=8, cols=4, token_tile=16)
    found = {case.name: (*case.q.shape, case.trits.shape[0]) for case in cases(config)}  # m, k, n
    assert found == {
        "one lane": (1, 1, 1),
        "one tile": (2, 8, 4),
        "edge tiles": (3, 9, 5),
        "several folds": (2, 24, 4),
        "several token tiles": (17, 1, 1),
        "largest sums": (1, 16, 4),
        "zero trits": (1, 8, 4),
    }
