"""Points of a study measured on a Dask cluster: a scheduler's address, processes of this machine, or a batch system.

Chunks of neighbouring points are submitted with a few more than there are workers under way, so that none idles and
memory stays flat. A chunk whose worker is lost is measured by another; rows are those of any other run.
"""

import contextlib
import logging
import shutil
import warnings
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

from hw.artifact import tool_version
from hw.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from dask_jobqueue import JobQueueCluster
    from distributed import Client

__all__ = ["BATCH_SYSTEMS", "Cluster", "check_dask", "job_script"]

Given, Found = TypeVar("Given"), TypeVar("Found")

BATCH_SYSTEMS = {  # name of the option -> class of dask-jobqueue
    "slurm": "SLURMCluster", "lsf": "LSFCluster", "pbs": "PBSCluster", "sge": "SGECluster", "oar": "OARCluster",
    "htcondor": "HTCondorCluster",
}  # fmt: skip

_AHEAD = 2  # chunks per worker that wait
_RETRIES = 3  # of a chunk whose worker was lost
_PATIENCE_S = 15  # for a scheduler to answer


def check_dask(address: str) -> tuple[str, int]:
    """Kind and number of workers: ``("tcp", 0)`` for an address, ``("local", 4)``, ``("slurm", 16)``.

    Raises:
        InputError: none of these.
    """
    kind, _, count = address.partition(":")
    if "://" in address:
        return "tcp", 0
    if kind not in ("local", *BATCH_SYSTEMS):
        known = ("tcp://HOST:PORT", "local:N", *(f"{name}:N" for name in BATCH_SYSTEMS))
        raise InputError(f"dask must be one of {', '.join(known)}, not {address!r}{did_you_mean(kind, BATCH_SYSTEMS)}")
    if not count.isascii() or not count.isdecimal() or not 1 <= int(count) <= 100_000:
        raise InputError(f"dask must have a number of workers, such as {kind}:4, not {address!r}")
    return kind, int(count)


class Cluster:
    """Workers of a study, as a context: they are released, and what was started here is stopped, at its end.

    Raises:
        InputError: Dask is missing, a scheduler that does not answer, workers with another version of this program.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._kind, self._count = check_dask(address)
        self._jobs = self._count  # of a batch system
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> "Cluster":
        """Connected, with workers of this version."""
        try:
            self._client = self._connected()
            self._check_versions()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Release the workers."""
        self._closing.close()

    @property
    def workers(self) -> int:
        """Workers that there are, or that were asked for and are still to come."""
        return self._count or max(1, len(self._client.nthreads()))

    def mapped(self, work: Callable[[Given], Found], given: Iterator[Given]) -> Iterator[Found]:
        """``work`` of each of ``given``, in the order in which they are finished.

        Raises:
            InputError: a chunk that ended worker after worker, or a scheduler that is gone.
        """
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        def submitted(count: int) -> list:
            return [self._client.submit(work, one, pure=False, retries=_RETRIES) for one in islice(given, count)]

        waiting = as_completed(submitted(self.workers * _AHEAD))
        try:
            for future in waiting:
                found = future.result()
                waiting.update(submitted(1))
                yield found
        except KilledWorker:
            raise InputError(
                "dask: points ended worker after worker, perhaps for their memory; give workers more, or run the "
                "command again for the rest without --dask"
            ) from None
        except (OSError, RuntimeError, TimeoutError) as error:
            raise InputError(
                f"dask: the scheduler {self._address} is gone ({type(error).__name__}); the same command goes on"
            ) from None

    def _connected(self) -> "Client":
        try:
            from distributed import Client, LocalCluster
        except ImportError:
            raise InputError(_missing("dask")) from None
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # a lost worker is no news: another has its points
        if self._kind == "tcp":
            try:
                client = Client(self._address, timeout=_PATIENCE_S)
            except (OSError, ValueError, TimeoutError):
                raise InputError(
                    f"dask: a scheduler must answer at {self._address} within {_PATIENCE_S} s; start one by "
                    "dask scheduler, or take local:N"
                ) from None
            return self._closing.enter_context(client)
        if self._kind == "local":
            started = LocalCluster(n_workers=self._count, threads_per_worker=1, dashboard_address=None)
            return self._closing.enter_context(Client(self._closing.enter_context(started)))
        batch = _batch_system(self._kind)
        command = batch.job_cls.submit_command.split()[0]
        if shutil.which(command) is None:
            batch.close()
            raise InputError(
                f"dask: {self._kind} must have its command {command} on this host, which submits the jobs, and it is "
                "not found; run where jobs are submitted from, or take local:N or tcp://HOST:PORT"
            )
        self._closing.enter_context(contextlib.suppress(AssertionError))  # of jobs that were refused, as it closes
        self._closing.enter_context(batch)
        self._count *= batch._dummy_job.worker_processes  # workers of its jobs
        try:
            batch.sync(_submitted, batch, self._jobs)
        except RuntimeError as error:  # with the command's output
            told = [line for line in str(error).splitlines() if line.strip()][-1]
            raise InputError(
                f"dask: {command} must take the job that --job-script shows, and refused it: {told}"
            ) from None
        return self._closing.enter_context(Client(batch))

    def _check_versions(self) -> None:
        """Workers compute what this process would."""
        own = tool_version()
        try:
            others = self._client.run(tool_version)
        except Exception as error:  # of a worker that lacks this package, whatever its import raises
            raise InputError(
                f"dask: every worker must have tritforge {own} installed; one gave {type(error).__name__}"
            ) from None
        for worker, version in others.items():
            if version != own:
                raise InputError(f"dask: worker {worker} must have tritforge {own}, not {version}")


async def _submitted(batch: "JobQueueCluster", jobs: int) -> None:
    """Ask for ``jobs``; unlike ``scale``, it says what came of it."""
    while len(batch.worker_spec) < jobs:
        batch.worker_spec.update(batch.new_worker_spec())
    await batch


def job_script(address: str) -> str:
    """The script of one of the jobs that a batch system is asked for; it need not be installed here.

    Raises:
        InputError: no batch system, or one whose jobs are not described.
    """
    kind, _ = check_dask(address)
    if kind not in BATCH_SYSTEMS:
        systems = ", ".join(f"{name}:N" for name in BATCH_SYSTEMS)
        raise InputError(f"job-script must stand beside dask of a batch system ({systems}), not {address!r}")
    with _batch_system(kind) as batch, warnings.catch_warnings(action="ignore"):  # as below
        return batch.job_script()


def _batch_system(kind: str) -> "JobQueueCluster":
    """A cluster without jobs so far, as ``jobqueue.yaml`` describes them."""
    try:
        import dask_jobqueue
    except ImportError:
        raise InputError(_missing("dask-jobqueue")) from None
    try:
        with warnings.catch_warnings(action="ignore"):  # of fields that a system has no directive for
            return getattr(dask_jobqueue, BATCH_SYSTEMS[kind])()
    except (ValueError, OSError, RuntimeError) as error:
        told = str(error).splitlines()[0].removesuffix(", for example:") if str(error) else type(error).__name__
        raise InputError(
            f"dask: {kind} needs cores and memory of a job in ~/.config/dask/jobqueue.yaml, such as "
            f"jobqueue: {{{kind}: {{cores: 8, memory: 24GiB}}}}; dask-jobqueue says: {told}"
        ) from None


def _missing(package: str) -> str:
    return f"{package} is missing; install the dask extra: pip install 'tritforge[dask]'"
