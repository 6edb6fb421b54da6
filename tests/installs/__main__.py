"""``python -m tests.installs``: what each extra takes to install, for the table of docs/packaging.md."""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

from tests.installs.table import RESULTS, render_page

_ROOT = Path(__file__).parents[2]
_SPARE = ("test", "fuzz")  # of developers, who install everything


def main() -> None:
    """Measure the named extras, or all: each into a copy of an environment that has the wheel without extras.

    Each is installed twice: with an empty cache of pip's, which downloads, and again from what that left in it.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("extras", nargs="*", help="extras to measure anew (default: all, and none)")
    parser.add_argument("--render", action="store_true", help="only write the table")
    options = parser.parse_args()
    if not options.render:
        project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        extras = options.extras or ["none", *(one for one in project["optional-dependencies"] if one not in _SPARE)]
        measured = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() and options.extras else {}
        measured["python"], measured["processors"] = sys.version.split()[0], _processors()
        with tempfile.TemporaryDirectory() as folder:
            build = [sys.executable, "-m", "build", "--wheel", "--outdir", folder, str(_ROOT)]
            subprocess.run(build, check=True, capture_output=True)
            (wheel,) = Path(folder).glob("*.whl")
            bare, base = Path(folder) / "bare", Path(folder) / "none"
            subprocess.run([sys.executable, "-m", "venv", bare], check=True)
            for extra in dict.fromkeys(["none", *extras]):
                shutil.rmtree(cache := Path(folder) / "cache", ignore_errors=True)
                for column in ("downloaded", "cached"):
                    copy = base if extra == "none" else Path(folder) / "extra"
                    shutil.rmtree(copy, ignore_errors=True)
                    shutil.copytree(bare if extra == "none" else base, copy, symlinks=True)
                    one = _install(copy, wheel, extra, cache)
                    measured.setdefault("extras", {}).setdefault(extra, {})[column] = one
                    print(extra, column, one, flush=True)
                RESULTS.write_text(json.dumps(measured, indent=1) + "\n", encoding="utf-8")
    render_page()


def _processors() -> int:
    from hw.process.threads import usable_cpus

    return usable_cpus()


def _install(environment: Path, wheel: Path, extra: str, cache: Path) -> dict[str, float]:
    """Seconds of pip, by the clock and of its processors, and what the environment holds more afterwards."""
    before, packages = _bytes(environment), _packages(environment)
    used, started = os.times(), time.monotonic()
    wanted = str(wheel) if extra == "none" else f"{wheel}[{extra}]"
    command = [environment / "bin" / "python", "-m", "pip", "install", "-q", "--cache-dir", cache, wanted]
    subprocess.run(command, check=True, capture_output=True)
    seconds, now = time.monotonic() - started, os.times()
    processor_s = now.children_user + now.children_system - used.children_user - used.children_system
    return {
        "seconds": round(seconds, 1),
        "processor_s": round(processor_s, 1),
        "bytes": _bytes(environment) - before,
        "packages": _packages(environment) - packages,
    }


def _packages(environment: Path) -> int:
    return len(list(environment.glob("lib/python*/site-packages/*.dist-info")))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


if __name__ == "__main__":
    main()
