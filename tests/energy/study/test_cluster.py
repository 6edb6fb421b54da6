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
from energy.study.cluster import BATCH_SYSTEMS, Cluster, check_dask
from energy.study.document import load_study
from energy.study.engine import run_study
from hw.errors import InputError

pytest.importorskip("distributed")
cloudpickle = pytest.importorskip("cloudpickle")

PATH = os.environ["PATH"]

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


@pytest.fixture
def described(monkeypatch):
    """Jobs of every batch system as a ``jobqueue.yaml`` would describe them, and no command of any on the path."""
    dask = pytest.importorskip("dask")
    pytest.importorskip("dask_jobqueue")
    monkeypatch.setenv("PATH", "")
    fields = {"cores": 3, "processes": 3, "memory": "6GiB", "walltime": "01:15:00", "queue": "night", "disk": "1GB"}
    of_system = {name: {key: fields[key] for key in fields if key != "disk"} for name in BATCH_SYSTEMS}
    of_system["htcondor"] = {key: fields[key] for key in ("cores", "processes", "memory", "disk")}
    with dask.config.set(
        {f"jobqueue.{name}": dask.config.get(f"jobqueue.{name}") | of_system[name] for name in of_system}
    ):
        yield


DIRECTIVES = {  # of three cores, 6 GiB, 75 minutes, queue night, as the manual of each system has them
    "slurm": ["#SBATCH -p night", "#SBATCH --cpus-per-task=3", "#SBATCH --mem=6G", "#SBATCH -t 01:15:00"],
    "lsf": ["#BSUB -q night", "#BSUB -n 3", "#BSUB -W 01:15"],
    "pbs": ["#PBS -q night", "#PBS -l select=1:ncpus=3:mem=6144MB", "#PBS -l walltime=01:15:00"],
    "sge": ["#$ -q night", "#$ -l h_rt=01:15:00"],
    "oar": ["#OAR -q night", "#OAR -l /nodes=1/core=3,walltime=01:15:00"],
    "htcondor": ["MY.DaskWorkerCores = 3", "MY.DaskWorkerMemory = 6442450944"],
}


@pytest.mark.parametrize("system", BATCH_SYSTEMS)
def test_the_job_of_every_batch_system_is_shown_without_its_scheduler(system, described, capsys):
    main(["whatif", "--dask", f"{system}:64", "--job-script"])
    script = capsys.readouterr().out
    for directive in DIRECTIVES[system]:
        assert directive in script
    assert f"{sys.executable} -m distributed.cli.dask_worker tcp://" in script
    assert "--nworkers 3 --nanny" in script


SUBMIT = {"slurm": "sbatch", "lsf": "bsub", "pbs": "qsub", "sge": "qsub", "oar": "oarsub", "htcondor": "condor_submit"}


@pytest.mark.parametrize(("system", "command"), SUBMIT.items())
def test_a_missing_submit_command_is_one_line(system, command, described):
    line = f"dask: {system} must have its command {command} on this host, .* run where jobs are submitted from"
    with pytest.raises(InputError, match=line) as caught, Cluster(f"{system}:2"):
        pass
    assert "\n" not in str(caught.value)


def _command(folder, name, text):
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.slow
def test_jobs_that_a_batch_system_starts_give_the_rows_of_a_local_run(study, described, tmp_path, monkeypatch):
    """A command called sbatch, which starts the script that it is given, in the place of Slurm."""
    script = f'cp "$1" {tmp_path}/job$$\nPATH={PATH} /bin/sh {tmp_path}/job$$ >/dev/null 2>&1 &\n'
    _command(tmp_path, "sbatch", f'{script}echo "Submitted batch job $!"')
    _command(tmp_path, "scancel", "kill $1")
    monkeypatch.setenv("PATH", f"{tmp_path}:{PATH}")
    with Cluster("slurm:2") as cluster:
        assert cluster.workers == 2 * 3
        shared = run_study(study, "s", cluster=cluster)
    assert shared == run_study(study, "s", processes=1)
    scripts = [path.read_text() for path in tmp_path.glob("job*")]
    assert len(scripts) == 2
    assert all("#SBATCH -p night" in script for script in scripts)


def test_a_job_that_the_batch_system_refuses_is_one_line(described, tmp_path, monkeypatch):
    _command(tmp_path, "sbatch", "echo sbatch: error: invalid account >&2\nexit 1")
    _command(tmp_path, "scancel", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}:{PATH}")
    line = "dask: sbatch must take the job that --job-script shows, and refused it: sbatch: error: invalid account"
    with pytest.raises(InputError, match=line) as caught, Cluster("slurm:2"):
        pass
    assert "\n" not in str(caught.value)


def test_a_job_that_is_not_described_is_one_line(tmp_path):
    pytest.importorskip("dask_jobqueue")
    with pytest.raises(InputError, match=r"slurm needs cores and memory of a job in ~/.config/dask/jobqueue[.]yaml"):
        main(["whatif", "--dask", "slurm:2", "--job-script"])


@pytest.mark.parametrize("where", [[], ["--dask", "local:2"], ["--dask", "tcp://10.0.0.1:8786"]])
def test_a_script_is_of_a_batch_system(where):
    with pytest.raises(InputError, match=r"job-script must stand beside dask of a batch system|dask must be one of"):
        main(["whatif", *where, "--job-script"])


def test_processes_beside_dask_are_refused(tmp_path, study):
    with pytest.raises(InputError, match="processes must be left out beside dask"):
        main(["whatif", "--study", str(tmp_path / "study.yaml"), "--dask", "local:2", "--processes", "2"])
