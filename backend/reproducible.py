"""setuptools' build backend, with source distributions of the same bytes for equal files and ``SOURCE_DATE_EPOCH``.

Wheels of setuptools are so already. A tar of it keeps when each file was checked out, by whom, and in which order the
folder lists them; here members are sorted and have one time, one mode and no owner.

Ref: https://reproducible-builds.org/docs/archives/ and /docs/source-date-epoch/; PEP 517.
"""

import gzip
import io
import os
import tarfile
from pathlib import Path

from setuptools.build_meta import *  # noqa: F403 - the hooks of PEP 517
from setuptools.build_meta import build_sdist as _build_sdist


def build_sdist(sdist_directory, config_settings=None):
    """PEP 517: build the source distribution, then write it again in an order and with times of its own."""
    name = _build_sdist(sdist_directory, config_settings)
    path = Path(sdist_directory) / name
    if epoch := os.environ.get("SOURCE_DATE_EPOCH"):
        path.write_bytes(_normalized(path, int(epoch)))
    return name


def _normalized(path, epoch):
    """The archive's bytes with sorted members, one time, modes of files and folders, and no owner."""
    plain = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            content = old.extractfile(member) if member.isfile() else None
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            member.pax_headers = {}
            new.addfile(member, content)
    packed = io.BytesIO()
    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=epoch, filename="") as stream:
        stream.write(plain.getvalue())
    return packed.getvalue()
