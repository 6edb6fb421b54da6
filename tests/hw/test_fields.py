"""Words that say a record again: parsed, they give it back."""

from argparse import ArgumentParser, Namespace

import pytest
from pydantic import BaseModel, Field

from energy.job import Job, Rivals
from hw.errors import InputError
from hw.fields import _pairs, add_fields, given_fields, options_of, options_origin
from quant.job import QuantJob
from sim.host import Host


def parsed(words, *models):
    parser = ArgumentParser()
    for model in models:
        add_fields(parser, model)
    return [
        model(**fields) for model, fields in zip(models, given_fields(parser.parse_args(words), *models), strict=True)
    ]


@pytest.mark.parametrize(
    "job",
    [
        Job(),
        Job(model="stories260K", prefill=8, decode=0, kv_bits=8, prefill_chunk=4),
        Job(double_buffer=False, fuse_projections=True, mapping="tokens"),
        Job(placement={"lm_head": "host", "embedding": "host"}, host=Host(latency_s=1e-3)),
    ],
)
def test_options_of_a_job_give_it_back(job):
    assert parsed(options_of(job), Job) == [job]


def test_options_of_a_quantization_keep_numbers_words_and_paths(tmp_path):
    job = QuantJob(
        model="m", options={"group": 64, "scales": "pow2", "odd": "12"}, more_texts=(tmp_path, tmp_path / "b")
    )
    rivals = Rivals(rivals="w2a8", hold="area")
    assert parsed(["--model", "m", *options_of(job, ["model"]), *options_of(rivals)], QuantJob, Rivals) == [job, rivals]


def test_defaults_need_no_words():
    assert options_of(Rivals()) == []


def test_help_says_the_default_behind_the_description():
    class Form(BaseModel):
        fast: bool = Field(True, description="run fast")
        slow: bool = Field(False, description="run slowly")
        count: int = Field(3, description="how many, 50 % of them now")

    parser = ArgumentParser()
    add_fields(parser, Form)
    text = " ".join(parser.format_help().split())
    assert "run fast (default: on)" in text
    assert "run slowly (default: off)" in text
    assert "how many, 50 % of them now (default: 3)" in text


def test_an_error_names_the_file_and_the_options_or_these_alone():
    assert options_origin(Namespace(job="a.yaml")) == "a.yaml and options"
    assert options_origin(Namespace(job=None)) == options_origin(Namespace()) == "options"


def test_pairs_have_a_name_and_come_once():
    assert _pairs("options", ["a=1", "b=null", "c=x=y", "d="]) == {"a": 1, "b": None, "c": "x=y", "d": ""}
    for text in ("=3", "a", ""):
        with pytest.raises(InputError, match="options must be NAME=VALUE"):
            _pairs("options", [text])
    with pytest.raises(InputError, match="options must have 'a' once, not twice"):
        _pairs("options", ["a=1", "a=1"])
