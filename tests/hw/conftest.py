"""The hand-written library, and Liberty files of real processes where a checkout has them beside it."""

from pathlib import Path

import pytest

from hw.gates.flow.library import load_library

TINY = Path(__file__).parent / "gates" / "flow" / "tiny.lib"
_REAL = Path(__file__).parents[3] / "shared" / "data" / "liberty"


@pytest.fixture(scope="session")
def tiny():
    return load_library([TINY])


@pytest.fixture(scope="session")
def sky130(tmp_path_factory):
    paths = sorted(_REAL.glob("sky130_fd_sc_hd__tt_025C_1v80.lib.gz"))
    if not paths:
        pytest.skip("no SKY130 Liberty file beside the checkout")
    return load_library(paths, tmp_path_factory.mktemp("liberty"))
