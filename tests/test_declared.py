"""Constants, defaults and bounds, which ``tests/declared.txt`` says a second time."""

import pytest

from tests.declared import PACKAGES, WRITTEN, declared, modules


@pytest.mark.parametrize("package", PACKAGES)
def test_what_is_declared_is_what_is_written(package):
    written = [line for line in WRITTEN.read_text(encoding="utf-8").splitlines() if line.startswith(f"{package}.")]
    found = []
    for name in modules():
        if name.partition(".")[0] == package:
            try:
                found += declared(name)
            except ModuleNotFoundError as missing:  # an extra is not installed: its modules cannot be compared
                if missing.name and missing.name.partition(".")[0] in PACKAGES:
                    raise
                written = [line for line in written if not line.startswith(f"{name}.")]
    changed = sorted(set(found) ^ set(written))
    assert not changed, "python -m tests.declared writes tests/declared.txt again; say why these moved:\n" + "\n".join(
        f"{'+' if line in found else '-'} {line}" for line in changed
    )
