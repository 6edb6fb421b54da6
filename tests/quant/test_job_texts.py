"""Texts and windows of a job with every default resolved, and the names that measured figures carry."""

import hashlib
from pydoc_data.topics import topics

import pytest

from quant.job import QuantJob, texts_of
from quant.text import calibration_text, evaluation_text, read_text


def test_built_in_texts_have_8_and_16_windows_of_512():
    texts = texts_of(QuantJob(model="m"), 4096)
    assert (texts.evaluation_windows, texts.evaluation_length) == (8, 512)
    assert (texts.calibration_windows, texts.calibration_length) == (16, 512)
    assert (texts.more, texts.prose, texts.prose_name) == ((), None, "")
    short = texts_of(QuantJob(model="m"), 128)
    assert (short.evaluation_length, short.calibration_length) == (128, 128)


def test_files_are_used_as_the_papers_use_them(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("some words")
    texts = texts_of(QuantJob(model="m", text=path, calib=path, more_texts=(path,), prose=path), 4096)
    assert (texts.evaluation_windows, texts.evaluation_length) == (None, 2048)
    assert (texts.calibration_windows, texts.calibration_length) == (None, 2048)
    digest = hashlib.sha256(b"some words").hexdigest()[:12]
    assert texts.evaluation_name == f"a.txt ({digest}), all windows of 2048 tokens"
    assert texts.calibration_name == f"a.txt ({digest}), up to 128 windows of 2048 tokens"
    assert texts.prose_name == f"a.txt ({digest})"
    given = texts_of(QuantJob(model="m", text=path, windows=3, length=100, calibration_windows=5), 4096)
    assert (given.evaluation_windows, given.evaluation_length) == (3, 100)
    assert (given.calibration_windows, given.calibration_length) == (5, 100)
    assert given.evaluation_name == f"a.txt ({digest}), 3 windows of 100 tokens"


def test_defaults_of_a_job():
    job = QuantJob(model="m")
    assert (job.method, job.recorded_tokens, job.seed, job.device) == ("auto", 64, 0, "cpu")


def test_the_built_in_halves_share_no_topic():
    names = sorted(topics)
    assert calibration_text(None).text == "\n\n".join(topics[name] for name in names[0::2])
    assert evaluation_text(None).text == "\n\n".join(topics[name] for name in names[1::2])


@pytest.mark.parametrize(("name", "expected"), [("w.raw", "\n\n\n = T = \n\n\n\n\n\n\n x \n"), ("w.txt", None)])
def test_wikitext_rows_are_joined_by_blank_lines(tmp_path, name, expected):
    text = "\n = T = \n \n\n x \n"
    path = tmp_path / name
    path.write_text(text)
    rows = ["", " = T = \n", "", "", " x \n"]  # blank rows are empty, others keep their line ends
    assert read_text(path).text == ("\n\n".join(rows) if expected else text)


def test_only_a_raw_file_with_titles_is_read_as_wikitext_is(tmp_path):
    """WikiText's rows are joined by empty lines; a file of another suffix, or without titles, stays as it is."""
    titled, plain = " = Robert = \n one \n", "one\ntwo\n"
    texts = {}
    for name, text in (("a.raw", titled), ("b.raw", plain), ("c.txt", titled)):
        (tmp_path / name).write_text(text)
        texts[name] = read_text(tmp_path / name).text
    assert texts == {"a.raw": " = Robert = \n\n\n one \n", "b.raw": plain, "c.txt": titled}
