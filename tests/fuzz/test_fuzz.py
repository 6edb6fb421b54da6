"""Every parser takes its corpus or refuses it, and so it does with faulty copies: the short run of ``make fuzz``."""

from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw.errors import InputError
from tests.documented import PAGE, render_page
from tests.fuzz.mutations import FORMS, mutate
from tests.fuzz.targets import CORPUS, TARGETS, Finding, Target, execute, seeds, work_folder

NOT_WHOLE = {("gguf", 1), ("gguf", 2), ("descriptor", 1)}  # refused as they are: tensors are missing, sizes do not fit


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_is_what_the_parsers_take(name):
    taken = [execute(TARGETS[name], data) for data in seeds(name)]
    assert taken == [(name, number) not in NOT_WHOLE for number in range(len(taken))]


def test_every_target_has_a_small_corpus_and_a_form():
    assert sorted(path.name for path in CORPUS.iterdir()) == sorted(TARGETS)
    assert sum(path.stat().st_size for path in CORPUS.rglob("*") if path.is_file()) < 200_000
    assert {target.form for target in TARGETS.values()} == set(FORMS)


@pytest.mark.parametrize("name", TARGETS)
def test_faulty_copies_are_taken_or_refused_in_one_line(name):
    corpus = seeds(name)

    @settings(max_examples=60, derandomize=True, deadline=None, database=None)
    @given(st.sampled_from(corpus), st.integers(0, 2**32))
    def runs(data, seed):
        execute(TARGETS[name], mutate(data, seed, TARGETS[name].form))

    runs()


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.sampled_from([name for name in TARGETS if name != "gguf"]), st.binary(max_size=200))
def test_any_bytes_are_taken_or_refused_in_one_line(name, data):
    execute(TARGETS[name], data)


def _with(read):
    return Target("a faulty parser", "bytes", read)


def test_other_exceptions_are_findings():
    with pytest.raises(Finding, match=r"^KeyError: 'x'$"):
        execute(_with(lambda data, folder: {}["x"]), b"")


def test_refusals_of_two_lines_are_findings():
    class TwoLines(InputError):  # InputError itself folds them
        def __str__(self):
            return "one\ntwo"

    def read(data, folder):
        raise TwoLines("")

    with pytest.raises(Finding, match=r"^the refusal is not one line: one"):
        execute(_with(read), b"")


def test_memory_beyond_the_limit_is_a_finding(monkeypatch):
    peaks = iter([SimpleNamespace(ru_maxrss=100 << 10), SimpleNamespace(ru_maxrss=400 << 10)])  # KiB
    monkeypatch.setattr("tests.fuzz.targets.resource.getrusage", lambda _: next(peaks))
    with pytest.raises(Finding, match=r"^memory grew by 300 MiB for 2 bytes$"):
        execute(_with(lambda data, folder: None), b"ab")


def test_a_file_outside_the_folder_is_a_finding():
    def read(data, folder):
        (folder.parent / "escaped").write_bytes(data)

    try:
        with pytest.raises(Finding, match=r"^wrote outside its folder: \['escaped'\]$"):
            execute(_with(read), b"")
    finally:
        (work_folder().parent / "escaped").unlink()


def test_a_hang_is_a_finding_whatever_the_parser_catches(monkeypatch):
    monkeypatch.setattr("tests.fuzz.targets.SECONDS", 0.05)

    def read(data, folder):
        try:
            while True:
                pass
        except Exception:
            pass

    with pytest.raises(Finding, match=r"^runs for more than 0\.05 s$"):
        execute(_with(read), b"")


def test_the_page_shows_the_recorded_executions_and_samples_of_mutants():
    assert render_page() == PAGE.read_text(encoding="utf-8")
