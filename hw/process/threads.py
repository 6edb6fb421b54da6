"""How many threads the libraries below start: as many as the process may have processors, which wait asleep.

OpenMP starts a thread for every processor of the machine and lets them wait for each other in a loop. Where others work
on the machine too, or a container has a share of it, the loops take the time that the work needs.

Ref: OpenMP 5.2, chapter 21 (OMP_NUM_THREADS, OMP_WAIT_POLICY); Linux, Documentation/admin-guide/cgroup-v2.rst, cpu.max.
"""

import math
import os
from collections.abc import MutableMapping
from pathlib import Path

from hw.errors import InputError

__all__ = ["THREADS", "limit_threads", "usable_cpus"]

THREADS = "TRITFORGE_THREADS"

_OPENMP = "OMP_NUM_THREADS"
_LIBRARIES = ("MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")  # which have settings of their own that go first
_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")


def limit_threads(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set what OpenMP and the linear algebra libraries read when they are loaded; what is set already stays.

    ``TRITFORGE_THREADS`` goes before everything else. Children of the process inherit it all.

    Raises:
        InputError: ``TRITFORGE_THREADS`` is no number of threads.
    """
    environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if given := environment.get(THREADS):
        if not (given.isascii() and given.isdecimal()) or int(given) < 1:
            raise InputError(f"{THREADS} must be a whole number of at least 1, not {given!r}")
        environment.update(dict.fromkeys((_OPENMP, *_LIBRARIES), given))
    elif not environment.get(_OPENMP):
        environment[_OPENMP] = str(usable_cpus())


def usable_cpus() -> int:
    """Processors that this process may use at once: those it is bound to, or its share of them where that is less."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(bound, _cgroup_cpus() or bound))


def _cgroup_cpus() -> int | None:
    """The quota of the process's control group or of one around it, in processors; None where there is none."""
    try:
        lines = _OWN_CGROUP.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    own = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    folder = _CGROUPS / own.strip("/")
    quotas = [_quota(place) for place in (folder, *folder.parents) if place.is_relative_to(_CGROUPS)]
    return min((quota for quota in quotas if quota is not None), default=None)


def _quota(folder: Path) -> int | None:
    """Processors of one control group: ``cpu.max`` holds microseconds per period, or ``max``."""
    try:
        quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
        return None if quota == "max" else math.ceil(int(quota) / int(period))
    except (OSError, ValueError, ZeroDivisionError):
        return None
