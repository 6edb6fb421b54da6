"""Files that are copied as they are into what an integrator gets."""

from pathlib import Path

__all__ = ["shipped"]

_FOLDER = Path(__file__).with_name("files")


def shipped(kit: str, name: str) -> str:
    """The text of file ``name`` of ``kit``."""
    return (_FOLDER / kit / name).read_text(encoding="utf-8")
