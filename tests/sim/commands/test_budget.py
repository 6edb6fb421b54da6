"""``tritforge budget`` and ``demo --whole`` as a person types them."""

import json
from pathlib import Path

import pytest

from hw.config import load_array
from hw.errors import InputError
from hw.memory.chip import load_chip
from hw.program.compiler import compiled
from hw.program.machine import machine_around
from sim.__main__ import main
from sim.token.cycles import TokenCycles
from sim.token.port import sdram_memory
from sim.token.results import budget_markdown
from tests.hw.token.random_models import random_model

STORIES = Path(__file__).parents[4] / "shared" / "data" / "models" / "stories260K.bin"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("program")
    compiled(random_model(1, layers=1), machine_around(load_array("8x8"))).write(folder)
    return folder


def test_it_counts_the_token_at_a_position(folder, capsys):
    from hw.program.image import load_image

    main(["budget", str(folder), "--position", "20", "--latency", "3", "--json"])
    shown = json.loads(capsys.readouterr().out)
    assert shown["cycles"] == sum(one.cycles for one in TokenCycles(load_image(folder), 3, position=20).step())
    slow = TokenCycles(load_image(folder), 8, bytes([1, 0, 0])).step()
    main(["budget", str(folder), "--word-edges", "3", "--json"])
    assert json.loads(capsys.readouterr().out)["cycles"] == sum(one.cycles for one in slow)
    main(["budget", str(folder), "--mhz", "50"])
    assert "tokens/s at 50 MHz" in capsys.readouterr().out
    image = load_image(folder)
    chip = sdram_memory(load_chip("as4c16m16sa-7"), 50e6, image.machine.array.weight_bus_bits)
    main(["budget", str(folder), "--memory", "sdram:as4c16m16sa-7@50"])
    total = sum(one.cycles for one in TokenCycles(image, memory=chip).step())
    assert f"{total:,}  {50e6 / total:,.1f} tokens/s at 50 MHz" in capsys.readouterr().out
    faster = sdram_memory(load_chip("as4c16m16sa-7"), 120e6, image.machine.array.weight_bus_bits, 3)
    main(["budget", str(folder), "--memory", "sdram:as4c16m16sa-7@40x3", "--json"])
    fewer = json.loads(capsys.readouterr().out)["cycles"]
    assert fewer == sum(one.cycles for one in TokenCycles(image, memory=faster).step()) < total


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--position", "24"], r"^--position must be 0 to 23, as K and V have room for, not 24$"),
        (["--latency", "0"], r"^--latency must be 1 to 4096 edges, not 0$"),
        (["--latency", "4097"], r"^--latency must be 1 to 4096 edges, not 4097$"),
        (["--word-edges", "0"], r"^--word-edges must be 1 to 64, not 0$"),
        (["--mhz", "0"], r"^--mhz must be above 0 and finite, not 0$"),
        (["--mhz", "inf"], r"^--mhz must be above 0 and finite, not inf$"),
        (["--mhz", "nan"], r"^--mhz must be above 0 and finite, not nan$"),
        *(
            (["--memory", text], rf"^--memory must be sdram:CHIP@MHZ\[xN\], not '{text}'$")
            for text in (
                "sdram:as4c16m16sa-7",
                "ddr3:as4c16m16sa-7@50",
                "sdram:as4c16m16sa-7@x",
                "sdram:as4c16m16sa-7@50x",
                "sdram:as4c16m16sa-7@50x2.5",
            )
        ),
        (["--memory", "sdram:as4c16m16sa-7@50x0"], r"^--memory: memory clock must be 1 to 8 times the .*, not 0$"),
        (
            ["--memory", "sdram:as4c16m16sa-7@50x3"],
            r"^--memory: clock of as4c16m16sa-7 must be above 0 and at most 143 MHz, not 150 MHz, 3 times the "
            r"machine's 50 MHz: take 2 times or less$",
        ),
        (["--memory", "sdram:none@50"], r"^chip must be one of .*as4c16m16sa-7.* or a \.yaml file, not 'none'$"),
        (["--memory", "sdram:gw2ar-18@900"], r"^clock of gw2ar-18 must be above 0 and at most \d+ MHz, not 900 MHz$"),
        (
            ["--memory", "sdram:gw2ar-18@50", "--word-edges", "2"],
            r"^--word-edges must be left out with --memory, which tells it$",
        ),
    ],
)
def test_what_cannot_be_counted_is_refused(folder, arguments, message):
    with pytest.raises(InputError, match=message):
        main(["budget", str(folder), *arguments])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--tokens", "0"], r"^tokens must be at least 1, not 0$"),
        (["--seed", "3"], r"^--seed must be left out with --whole, which draws nothing, not 3$"),
        (["--latency", "0"], r"^--latency must be 1 to 4096 edges, not 0$"),
        (["--word-edges", "65"], r"^--word-edges must be 1 to 64, not 65$"),
        (["--options", "digits"], r"^--options must be NAME=VALUE, not 'digits'$"),
        (["--array", "12x12"], r"^array '12x12': rows of a whole-token machine must be a power of two, not 12$"),
    ],
)
def test_a_whole_demo_that_cannot_be_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        main(["demo", "--whole", str(STORIES), *arguments])


@pytest.mark.slow
def test_a_whole_llama_writes_on_the_rtl(capsys, tmp_path):
    if not STORIES.is_file():
        pytest.skip("no stories260K.bin beside the checkout")
    rows = tmp_path / "rows.json"
    main(["demo", "--whole", str(STORIES), "--tokens", "12", "--word-edges", "3", "--json", "--add", str(rows)])
    shown = json.loads(capsys.readouterr().out)
    assert shown["text"].startswith(", there was a little girl")
    assert len(shown["tokens"]) == 12
    assert not shown["saturated"]
    table = budget_markdown(rows).splitlines()
    assert table[2].startswith("| stories260K, digits | 16 x 16, 4 lanes, latency 8, a word in 3 edges | 5 + 12 | ")
    assert f"| {shown['budget']['cycles']:,.0f} |" in table[2]
