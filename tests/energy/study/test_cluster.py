"""Studies on Dask: the rows of a local run, also where a worker is killed; addresses that cannot be are refused."""

import os
import signal
import socket
import sys
from functools import partial

import pytest
import yaml

from energy.__main__ import main
from energy.study import engine
from energy.study.cluster import Cluster, check_dask
from energy.study.document import load_study
from energy.study.engine import run_study
from hw.errors import InputError

pytest.importorskip("distributed")
cloudpickle = pytest.importorskip("cloudpickle")

STUDY = {
    "name": "tiny",
    "base": {"model": "stories260K", "array": "8x8", "prefill": 8, "decode": 2},
    "axes": {
        "array.token_tile": [4, 8, 0],
        "memory": ["ddr4-2400", "hbm2-2000"],
        "batch": {"from": 1, "to": 16, "step": 1},
        "costs": ["horowitz-45nm", "gates:asap7"],
    },
}


@pytest.fixture
def study(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(STUDY))
    return load_study(str(path))


def _die_once(base, marker, chunk):
    """The chunk, whose worker is killed the first time that a chunk with ``marker`` missing comes."""
    try:
        os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return engine._measure_chunk(base, chunk)
    os.kill(os.getpid(), signal.SIGKILL)


class _Killing(Cluster):
    """A cluster, one of whose workers is killed with a chunk in hand."""

    def mapped(self, work, given):
        cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers do not have the tests
        return super().mapped(partial(_die_once, work.args[0], self.marker), given)


@pytest.mark.slow
def test_two_workers_give_the_rows_of_a_local_run_though_one_is_killed(study, tmp_path):
    local = run_study(study, "s", processes=1)
    cluster = _Killing("local:2")
    cluster.marker = str(tmp_path / "killed")
    with cluster:
        shared = run_study(study, "s", cluster=cluster)
    assert os.path.exists(cluster.marker)
    assert shared == local
    assert len(shared.points) == 3 * 2 * 16 * 2


@pytest.mark.slow
def test_a_scheduler_by_its_address_from_the_command_line(study, tmp_path):
    from distributed import LocalCluster

    path = str(tmp_path / "study.yaml")
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as there:
        main(["whatif", "--study", path, "--out", str(tmp_path / "shared"), "--dask", there.scheduler_address])
    main(["whatif", "--study", path, "--out", str(tmp_path / "local")])
    assert (tmp_path / "shared" / "points.csv").read_text() == (tmp_path / "local" / "points.csv").read_text()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("slrum:4", "dask must be one of tcp://HOST:PORT, local:N, slurm:N.*did you mean 'slurm'"),
        ("local", "dask must have a number of workers, such as local:4, not 'local'"),
        ("local:0", "number of workers"),
        ("lsf:-3", "number of workers"),
        ("local:²", "number of workers"),
    ],
)
def test_an_address_that_cannot_be_is_refused(address, message):
    with pytest.raises(InputError, match=message):
        check_dask(address)


def test_addresses_by_kind():
    assert check_dask("tcp://10.0.0.1:8786") == ("tcp", 0)
    assert check_dask("local:3") == ("local", 3)
    assert check_dask("slurm:16") == ("slurm", 16)


def test_a_dead_scheduler_is_one_line(monkeypatch):
    monkeypatch.setattr("energy.study.cluster._PATIENCE_S", 1)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with (
        pytest.raises(InputError, match=f"a scheduler must answer at tcp://127.0.0.1:{port} within 1 s") as caught,
        Cluster(f"tcp://127.0.0.1:{port}"),
    ):
        pass
    assert "\n" not in str(caught.value)


def test_processes_beside_dask_are_refused(tmp_path, study):
    with pytest.raises(InputError, match="processes must be left out beside dask"):
        main(["whatif", "--study", str(tmp_path / "study.yaml"), "--dask", "local:2", "--processes", "2"])
