"""``PlaceAndRoute``: nextpnr on a synthesized design without pads: the clock that a seed reaches, and cells used."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from hw.errors import InputError
from hw.synthesis.families import FAMILIES, PLACERS, Flow

__all__ = ["PlaceAndRoute", "program_called"]


class PlaceAndRoute(NamedTuple):
    """A family's nextpnr with the options of a part, a router and a placer."""

    flow: Flow
    command: tuple[str, ...]

    @classmethod
    def of(cls, family: str, part: str, router: str, placer: str = PLACERS[0]) -> "PlaceAndRoute":
        """For a part of a family that has an open flow.

        Raises:
            InputError: the family's nextpnr is not installed.
        """
        flow = FAMILIES[family].flow
        options = ("--json", "top.json", "--timing-allow-fail", "--freq", str(flow.target_mhz), "--router", router)
        options += ("--placer", placer) if placer != PLACERS[0] else ()
        return cls(flow, (program_called(flow.route), *flow.parts[part].split(), *options))

    def run(self, folder: Path, seed: int) -> dict[str, float]:
        """The slowest clock in MHz of ``top.json`` placed with that seed, and what it takes of the part.

        Raises:
            RuntimeError: it does not fit or cannot be routed.
        """
        report = folder / f"report{seed}.json"
        command = [*self.command, "--seed", str(seed), "--report", report.name]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or not report.is_file():
            raise RuntimeError(f"nextpnr failed: {done.stderr.strip().splitlines()[-1:]}")
        return self._figures(json.loads(report.read_text(encoding="utf-8")))

    def _figures(self, report: dict) -> dict[str, float]:
        used, names = report["utilization"], self.flow
        kinds = {"tables": names.luts, "flip_flops": names.flip_flops, "block_rams": names.block_rams}
        found = {kind: used[name]["used"] for kind, name in kinds.items() if name}
        mhz = round(min(clock["achieved"] for clock in report["fmax"].values()), 2)
        return {"mhz": mhz, **found, "dsps": sum(used.get(name, {"used": 0})["used"] for name in names.dsps)}


def program_called(name: str) -> str:
    """The place-and-route program, of this environment or of the system."""
    beside = str(Path(sys.executable).parent)
    for candidate in (f"yowasp-{name}", name):
        if found := shutil.which(candidate, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}"):
            return found
    raise InputError(f"place and route needs {name}: pip install yowasp-{name}")
