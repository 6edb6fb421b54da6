"""Threads: what the environment says after a command has started, by affinity, control group and what is set."""

import os
import subprocess
import sys

import pytest

from hw.errors import InputError
from hw.process import threads
from hw.process.threads import limit_threads, usable_cpus


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Eight processors, a control group in another, and a function that writes their quotas."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "_CGROUPS", tmp_path)
    monkeypatch.setattr(threads, "_OWN_CGROUP", tmp_path / "own")
    (tmp_path / "own").write_text("1:cpu:/old\n0::/outer/inner\n")
    (tmp_path / "outer/inner").mkdir(parents=True)

    def write(outer, inner):
        (tmp_path / "outer/cpu.max").write_text(outer)
        (tmp_path / "outer/inner/cpu.max").write_text(inner)

    return write


@pytest.mark.parametrize(
    ("outer", "inner", "cpus"),
    [
        ("max 100000\n", "max 100000\n", 8),
        ("max 100000\n", "200000 100000\n", 2),
        ("150000 100000\n", "400000 100000\n", 2),  # the tighter one, rounded up
        ("5000 100000\n", "max 100000\n", 1),
        ("1600000 100000\n", "max 100000\n", 8),  # more than there are
        ("nonsense\n", "1 0\n", 8),
    ],
)
def test_processors_are_those_of_the_affinity_within_every_quota(machine, outer, inner, cpus):
    machine(outer, inner)
    assert usable_cpus() == cpus


def test_without_control_groups_the_affinity_counts(machine, tmp_path):
    (tmp_path / "own").unlink()
    assert usable_cpus() == 8


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({}, {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "PASSIVE"}),
        ({"OMP_NUM_THREADS": ""}, {"OMP_NUM_THREADS": "3", "OMP_WAIT_POLICY": "PASSIVE"}),
        (
            {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "ACTIVE"},
            {"OMP_NUM_THREADS": "7", "OMP_WAIT_POLICY": "ACTIVE"},
        ),
        (
            {"OMP_NUM_THREADS": "7", "TRITFORGE_THREADS": "5"},
            {
                "OMP_NUM_THREADS": "5",
                "MKL_NUM_THREADS": "5",
                "OPENBLAS_NUM_THREADS": "5",
                "OMP_WAIT_POLICY": "PASSIVE",
                "TRITFORGE_THREADS": "5",
            },
        ),
    ],
)
def test_what_is_set_stays_and_the_projects_own_variable_goes_first(machine, given, told):
    machine("300000 100000", "max 100000")
    limit_threads(environment := dict(given))
    assert environment == told


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "²"])
def test_what_is_no_number_of_threads_is_refused(value):
    with pytest.raises(InputError, match=rf"^TRITFORGE_THREADS must be a whole number of at least 1, not '{value}'$"):
        limit_threads({"TRITFORGE_THREADS": value})


def run(code, **given):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "MKL_", "TRITFORGE_"))}
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=kept | given, timeout=120
    )


@pytest.mark.torch
def test_every_command_line_starts_torch_with_them():
    code = "from hw.cli import run\ndef main(_):\n    import torch\n    print(torch.get_num_threads())\nrun(main)"
    assert run(code, TRITFORGE_THREADS="1").stdout == "1\n"
    assert run(code, OMP_NUM_THREADS="1").stdout == "1\n"
    assert run(code).stdout == f"{usable_cpus()}\n"


def test_a_command_line_refuses_a_wrong_number_in_one_line():
    done = run("from hw.cli import run\nrun(print)", TRITFORGE_THREADS="many")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: TRITFORGE_THREADS must be a whole number of at least 1, not 'many'\n"
