"""YAML documents: every fault is one line that names file, place and what is allowed."""

import pytest
from pydantic import Field, ValidationError

from hw.artifact import write_artifact
from hw.document import Record, load_document, load_json, load_named, names_in, read_record, validate_document
from hw.errors import InputError


class Lamp(Record):
    watts: float = Field(gt=0)
    colour: str = "white"


def test_a_good_document_loads(tmp_path):
    (tmp_path / "desk.yaml").write_text("watts: 4\n")
    assert load_named("desk", tmp_path, Lamp, "lamp") == Lamp(watts=4)
    assert load_named(str(tmp_path / "desk.yaml"), tmp_path, Lamp, "lamp") == Lamp(watts=4)
    assert names_in(tmp_path) == ["desk"]


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    (tmp_path / "desk.yaml").write_text("watts: 4\n")
    with pytest.raises(
        InputError, match=r"^lamp must be one of desk or a \.yaml file, not 'dusk'; did you mean 'desk'\?$"
    ):
        load_named("dusk", tmp_path, Lamp, "lamp")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"watts: [1\n", r" line 2 is not valid YAML \("),
        (b"- 1\n", r" must be a mapping of fields, not list$"),
        (b"", r" must be a mapping of fields, not NoneType$"),
        (b"\xff\xfe\x00", r" must be UTF-8 YAML text, not binary data$"),
        (b"watts: 0\n", r" field 'watts' should be greater than 0, not 0$"),
        (b"colour: red\n", r" field 'watts' is missing$"),
        (b"watts: 1\nwats: 2\n", r" unknown field 'wats' = 2; known fields: watts, colour; did you mean 'watts'\?$"),
        (b"watts: x\nwats: 2\n", r" field 'watts' should be a valid number.*, not 'x' \(and 1 more\)$"),
    ],
)
def test_faults_are_one_line(tmp_path, content, message):
    path = tmp_path / "lamp.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}:{message}") as caught:
        load_document(path, Lamp)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"none\.yaml: cannot be read \(No such file or directory\)$"):
        load_document(tmp_path / "none.yaml", Lamp)


@pytest.mark.parametrize("content", [None, b"{", b"\xff", b"[1]", b'{"colour": "red"}'])
def test_a_json_file_is_validated_or_refused_by_its_name(tmp_path, content):
    path = tmp_path / "lamp.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=f"^{path}: ") as caught:
        load_json(path, Lamp)
    assert "\n" not in str(caught.value)


def test_a_record_never_changes():
    with pytest.raises(ValidationError, match="frozen"):
        Lamp(watts=4).watts = 5


def test_a_record_is_read_out_of_an_artifact_with_more_in_it(tmp_path):
    path = tmp_path / "lamp.json"
    write_artifact(path, "lamp", 2, {"watts": 4, "derived": {"joules": 14400}}, {})
    assert read_record(path, "lamp", 2, Lamp, "buy one") == Lamp(watts=4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ('{"schema": "lamp", "version": 2}', "field 'watts' is missing"),
        ('{"schema": "lamp", "version": 2, "watts": -1}', "field 'watts' should be greater than 0, not -1"),
        ('{"schema": "lamp", "version": 1, "watts": 4}', "schema must be lamp version 2, not lamp version 1"),
    ],
)
def test_a_faulty_record_is_refused_with_the_remedy(tmp_path, content, message):
    path = tmp_path / "lamp.json"
    if content:
        path.write_text(content)
    with pytest.raises(InputError, match=f"^{path}: {message}; buy one$"):
        read_record(path, "lamp", 2, Lamp, "buy one")


def test_the_origin_stands_in_front():
    with pytest.raises(InputError, match=r"^study\.yaml axes\.array: must be a mapping of fields, not str$"):
        validate_document("8x8", Lamp, "study.yaml axes.array")
