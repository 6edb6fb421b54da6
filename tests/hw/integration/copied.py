"""A kit in a folder of its own, run there by plain pytest."""

import os
import subprocess
import sys
from pathlib import Path


def run(folder: Path) -> subprocess.CompletedProcess:
    """pytest of that folder, with its own root and nothing of this checkout."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(folder), "."]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
