"""YAML documents: every fault is one line that names file, place and what is allowed."""

from pathlib import Path

import pytest
from pydantic import Field, ValidationError

from hw.artifact import write_artifact
from hw.document import (
    Record,
    load_document,
    load_json,
    load_mapping,
    load_named,
    names_in,
    read_record,
    validate_document,
)
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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("watts: 1\nwatts: 2\n", r" line 2 is not valid YAML \(key 'watts' is given twice, first in line 1; keep one"),
        ("watts: {a: 1, b: 2, 'a': 3}\n", r" line 1 is not valid YAML \(key 'a' is given twice, first in line 1"),
        ("watts: &a [*a]\n", r" line 1 is not valid YAML \(an alias must not stand inside what it names\)$"),
        ("watts: 2020-99-99\n", r" holds a value that cannot be read \(month must be in 1\.\.12\)$"),
        (f"watts: {'9' * 5000}\n", r" holds a value that cannot be read \(Exceeds the limit .*\)$"),
        ("watts: .inf\n", r" field 'watts' should be a finite number, not inf$"),
        (f"watts: {'x' * 5000}\n", r" field 'watts' should be a valid number, .*, not 'x{199}\.\.\.$"),
        ("- " * 5000, r".* is not valid YAML \(exceeded maximum nesting depth\)$"),
        ("watts: 010\n", r" line 1 is not valid YAML \(number '010' would be read in base 8\)$"),
        ("colour: red\nwatts: 1:30\n", r" line 2 is not valid YAML \(number '1:30' would be read in base 60\)$"),
        ("watts: yes\n", r" field 'watts' must be a number, not true$"),
        ("watts: false\n", r" field 'watts' must be a number, not false$"),
    ],
    ids=[
        *("twice", "twice inside", "cycle", "date", "digits", "infinite", "long", "deep"),
        *("octal", "sexagesimal", "true", "false"),
    ],
)
def test_yaml_that_hides_something_is_refused(tmp_path, content, message):
    path = tmp_path / "lamp.yaml"
    path.write_text(content)
    with pytest.raises(InputError, match=f"^{path}:{message}"):
        load_document(path, Lamp)


class Room(Record):
    lamp: Lamp | None = None
    dark: bool = False
    rows: int = 1


def test_truth_is_no_number_inside_of_other_fields_either(tmp_path):
    path = tmp_path / "room.yaml"
    path.write_text("lamp: {watts: on}\n")
    with pytest.raises(InputError, match=r"field 'lamp\.watts' must be a number, not true"):
        load_document(path, Room)
    path.write_text("dark: yes\nrows: 0x10\nlamp: {watts: 0.5}\n")
    assert load_document(path, Room) == Room(dark=True, rows=16, lamp=Lamp(watts=0.5))


def test_aliases_that_unfold_to_billions_are_refused_by_their_line(tmp_path):
    path = tmp_path / "lamp.yaml"
    path.write_text("a: &a0 [x, x]\n" + "".join(f"b{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)))
    with pytest.raises(InputError, match=r"line 17 .*must unfold to at most 200000 values"):
        load_document(path, Lamp)


def test_a_merged_mapping_may_be_overridden(tmp_path):
    path = tmp_path / "lamp.yaml"
    path.write_text("<<: &lamp {watts: 1, colour: red}\nwatts: 2\n")
    assert load_document(path, Lamp) == Lamp(watts=2, colour="red")


class Desk(Lamp):
    file_schema = "tritforge.desk.1"


def test_a_file_may_say_its_schema_and_then_must_be_of_it(tmp_path):
    path = tmp_path / "desk.yaml"
    path.write_text("schema: tritforge.desk.1\nwatts: 4\n")
    assert load_document(path, Desk) == Desk(watts=4)
    assert load_mapping(path, "tritforge.desk.1") == {"watts": 4}
    path.write_text("watts: 4\n")
    assert load_document(path, Desk) == Desk(watts=4)
    for other in ("tritforge.desk.2", "tritforge.array.1", "[1]"):
        path.write_text(f"schema: {other}\nwatts: 4\n")
        for read in (lambda: load_document(path, Desk), lambda: load_mapping(path, "tritforge.desk.1")):
            with pytest.raises(InputError, match=r"desk\.yaml: schema must be tritforge\.desk\.1, not .*; give a file"):
                read()


def test_every_shipped_document_says_its_schema():
    root = Path(__file__).parents[2]
    folders = ("hw/arrays", "quant/models", "sim/memories", "energy/studies", "energy/tech")
    files = [path for folder in folders for path in (root / folder).rglob("*.yaml")]
    assert len(files) > 30
    assert [path.name for path in files if not path.read_text().startswith("schema: tritforge.")] == []


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
