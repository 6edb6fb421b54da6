"""A token edge by edge in the Amaranth simulator: cycles of sim/token, bursts and passes by hand; and the picture."""

import json
from xml.etree import ElementTree

import pytest

from hw.__main__ import main
from hw.errors import InputError
from hw.program.interpreter import Interpreter
from hw.simulation import token_waveform
from hw.simulation.command import TOKEN_PICTURE
from hw.simulation.token_diagram import token_svg
from hw.simulation.token_example import TOKEN, example
from hw.simulation.token_waveform import play_token
from sim.token.cycles import TokenCycles

SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def image():
    return example()


@pytest.fixture(scope="module")
def edges(image):
    return play_token(image, TOKEN)


def test_instructions_take_the_cycles_of_the_simulator(image, edges):
    found = [(edge.runs, edge.counter) for edge in edges if edge.counter is not None]
    assert found == [(one.number, one.cycles) for one in TokenCycles(image, 8).step()]
    ends = [at for at, edge in enumerate(edges) if edge.counter is not None]
    assert [b - a for a, b in zip([0, *ends], ends, strict=False)] == [counter for _, counter in found]


def test_memory_gives_what_was_asked_for_8_edges_later(edges):
    # a line of instructions of 4 words; 8 numbers of 16 bits, twice; the token's row; two tiles of 2 words
    asked = [(at, *edge.request) for at, edge in enumerate(edges) if edge.request]
    assert [(address, words) for _, address, words in asked] == [(4, 32), (32, 2), (34, 2), (36 + TOKEN, 1), (44, 4)]
    # 8 edges later; a word is taken with the last of the scratch words that it becomes: 2 of int16, 4 of int8
    per_word = [1, 2, 2, 4, 1]
    given = [
        at + 8 + (place + 1) * edges_of - 1
        for (at, _, words), edges_of in zip(asked, per_word, strict=True)
        for place in range(words)
    ]
    assert [at for at, edge in enumerate(edges) if edge.word] == given


def test_lanes_array_and_division_work_as_the_program_says(edges):
    # 8 numbers on 2 lanes are 4 words; two digit planes of one 8 x 8 tile are 4 beats, 2 vectors and one beat of sums
    order = [edge.lanes for edge in edges if edge.lanes]
    assert order == [name for name in ("scan", "NORM", "QUANT", "DEQ", "scan", "QUANT") for _ in range(4)]
    counts = {name: sum(getattr(edge, name) for edge in edges) for name in ("weights", "vector", "sums", "write")}
    assert counts == {"weights": 4, "vector": 2, "sums": 1, "write": 2 + 1}  # two digits of K and its scale
    tasks = [edge.divides for edge in edges]
    assert [tasks.count(name) for name in ("root", "divide")] == [23 + 1, 2 * (14 + 1)]  # SCALE_EDGES and the start


def test_a_picture_may_end_in_the_middle_of_a_token(image, edges):
    assert play_token(image, TOKEN, last=3) == edges[: next(at for at, edge in enumerate(edges) if edge.runs == 4)]


def test_what_differs_from_the_interpreter_is_a_defect(image, monkeypatch):
    class Other(Interpreter):
        def step(self, token, wanted=True):
            return super().step(token ^ 1, wanted)

    monkeypatch.setattr(token_waveform, "Interpreter", Other)
    with pytest.raises(RuntimeError, match="differ from the interpreter's"):
        play_token(image, TOKEN)


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{SVG}text")]


def test_the_picture_shows_every_instruction_and_fits_a_telephone(image, edges):
    svg = token_svg(image, edges)
    found = texts(svg)
    assert {"0 LOAD", "3 NORM", "4 DEQ", "5 KV", "90 edges", "32 words", "1 word", "scan", "root", "divide"} <= set(
        found
    )
    root = ElementTree.fromstring(svg)
    assert root.get("width") == "390"
    for bar in root.iter(f"{SVG}rect"):
        assert 0 <= int(bar.get("x", "0")) <= 390 - int(bar.get("width"))
    later = texts(token_svg(image, edges, first=4))
    assert "3 NORM" not in later
    assert {"4 DEQ", "180", "260"} <= set(later)


def test_the_command_plays_a_program(image, tmp_path, capsys):
    image.write(tmp_path / "tiny")
    out = tmp_path / "wave" / "tiny.vcd"
    given = ["wave", "--program", str(tmp_path / "tiny"), "--token", "3", "--instructions", "1-2", "--out", str(out)]
    main([*given, "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["waveform"] == str(out)
    assert [edge["counter"] for edge in told["edges"] if edge["counter"]] == [61, 13, 13]
    assert " retired " in out.read_text()
    assert {"1 LOAD", "2 LOAD"} < set(texts(out.with_suffix(".svg").read_text()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["--token", "8"], r"^token must be 0 to 7, not 8$"),
        (["--instructions", "3"], r"^instructions must be FIRST-LAST such as 0-7, of the program's 0 to 6, not '3'$"),
        (["--instructions", "5-7"], r"^instructions must be .* 0 to 6, not '5-7'$"),
        (["--instructions", "3-2"], r"^instructions must be .* not '3-2'$"),
        (["--gemm", "2x2x2"], r"^--gemm must be left out with --program, which is of a machine and a token$"),
        (["--out", "x.svg"], r"^out must be the \.vcd file, not x\.svg: the picture goes beside it$"),
    ],
)
def test_wrong_options_are_refused(image, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    image.write(tmp_path / "tiny")
    others = [] if "--instructions" in given else ["--instructions", "0-1"]
    with pytest.raises(InputError, match=message):
        main(["wave", "--program", "tiny", *others, *given])
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


def test_more_edges_than_a_picture_is_for_are_refused(image, monkeypatch):
    monkeypatch.setattr(token_waveform, "_LONGEST", 50)
    with pytest.raises(InputError, match=r"^instructions must end within 50 edges of the token: give fewer$"):
        play_token(image, TOKEN)


def test_the_picture_in_the_docs_is_that_of_this_gateware(image, edges):
    assert TOKEN_PICTURE.read_text() == token_svg(image, edges), "renew it: python -m hw wave --docs"
