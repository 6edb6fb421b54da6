"""Commands log what ``TRITFORGE_LOG`` asks for; programs hear the loggers of the packages as they set them."""

import logging
import os
import subprocess
import sys

import pytest

from hw.config import load_array
from hw.errors import InputError
from hw.process.logs import log_as_asked
from quant.shapes import load_shape
from sim.memory import load_memory
from sim.simulator import simulate


def command(level, *words):
    environment = os.environ | {"TRITFORGE_LOG": level, "TRITFORGE_CACHE": "off"}
    line = [sys.executable, "-m", "sim", "run", "--model", "stories260K", "--array", "8x8", *words]
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


def test_a_command_logs_on_standard_error_when_asked():
    told = command("debug", "--prefill", "4", "--decode", "1")
    assert "sim.simulator: stories260K on 8x8 with lpddr5-6400 simulated: prefill " in told.stderr
    assert command("warning", "--prefill", "4", "--decode", "1").stderr == ""
    refused = command("loud")
    assert (refused.returncode, refused.stderr) == (
        2,
        "error: TRITFORGE_LOG must be one of debug, info, warning, not 'loud'\n",
    )


def test_without_the_variable_nothing_is_set():
    before = logging.getLogger("sim").level
    log_as_asked({})
    assert logging.getLogger("sim").level == before
    with pytest.raises(InputError, match="must be one of debug, info, warning, not 'x'"):
        log_as_asked({"TRITFORGE_LOG": "x"})


def test_a_program_hears_what_it_asks_for(caplog):
    with caplog.at_level(logging.DEBUG, logger="sim"):
        result = simulate(load_shape("stories260K"), load_array("8x8"), load_memory("ddr4-2400"), prefill=4, decode=1)
    (record,) = [one for one in caplog.records if one.name == "sim.simulator"]
    assert f"prefill {result.phase('prefill').cycles} cycles" in record.getMessage()
