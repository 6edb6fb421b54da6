"""The command: prints the address that answers, ends at Ctrl-C without a word, refuses a port that cannot be."""

import json
import os
import signal
import subprocess
import sys
import urllib.request

import pytest

from energy.__main__ import main
from energy.explorer.controls import controls
from hw.errors import InputError


@pytest.mark.slow
def test_the_printed_address_answers_and_ctrl_c_ends_it():
    command = [sys.executable, "-m", "energy", "explore", "--port", "0", "--no-browser", "--json"]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": os.environ}
    with subprocess.Popen(command, **pipes) as server:
        url = json.loads(server.stdout.readline())["url"]
        assert url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(url, timeout=60) as page:
            assert "Tritforge explorer" in page.read().decode()
        server.send_signal(signal.SIGINT)
        _, said = server.communicate(timeout=60)
    assert (server.returncode, said) == (0, "")


@pytest.mark.parametrize("port", ["-1", "65536"])
def test_a_port_that_cannot_be_is_refused(port):
    with pytest.raises(InputError, match=rf"port must be from 0 to 65535, not {port}"):
        main(["explore", "--port", port])


def test_a_host_that_is_none_is_refused():
    with pytest.raises(InputError, match=r"host and port must be free to listen on, not 192\.0\.2\.1:0"):
        main(["explore", "--port", "0", "--host", "192.0.2.1", "--no-browser"])


@pytest.mark.parametrize("count", ["0", "1001"])
def test_a_number_of_redraws_that_cannot_be_is_refused(count):
    with pytest.raises(InputError, match=rf"measure must be from 1 to 1000 redraws of each control, not {count}"):
        main(["explore", "--measure", count])


@pytest.mark.slow
def test_it_measures_every_control(capsys):
    main(["explore", "--measure", "1", "--json"])
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["control"] for row in rows] == [*(one.label for one in controls().values()), "all"]
    assert rows[-1]["redraws"] == len(rows) - 1
    for row in rows:
        assert 0 < row["median_ms"] <= row["p95_ms"]
        assert row["median_ms"] <= row["whole_median_ms"]
