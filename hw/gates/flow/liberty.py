"""Reader of Liberty (.lib, .lib.gz) cell libraries: the groups that mapping, timing and energy need, in SI units.

Ref: Liberty User Guide, vol. 1: NLDM tables (``cell_rise``, ``rise_transition``), ``internal_power``,
``leakage_power``, ``ff``, ``clock_gating_integrated_cell``. The energy unit of ``internal_power`` is capacitance unit x
voltage unit^2.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from hw.errors import InputError

__all__ = ["Group", "parse_group", "read_text"]

_WANTED_GROUPS = frozenset(
    [
        "library",
        "cell",
        "pin",
        "ff",
        "latch",
        "statetable",
        "timing",
        "internal_power",
        "leakage_power",
        "lu_table_template",
        "power_lut_template",
        "operating_conditions",
        "cell_rise",
        "cell_fall",
        "rise_transition",
        "fall_transition",
        "rise_power",
        "fall_power",
        "power",
        "rise_constraint",
        "fall_constraint",
        "bundle",
        "bus",
    ]
)
_STATEMENT = re.compile(
    r"""\s*(?:
        ([A-Za-z_]\w*)\s*\(((?:[^()"]|"[^"]*")*)\)\s*([{;])?        # group or complex attribute
        |([A-Za-z_]\w*)\s*:\s*("(?:[^"\\]|\\.)*"|[^;\n}]+?)\s*(?:;|(?=[\n}]))  # simple attribute
        |(\})
        |;
    )""",
    re.VERBOSE | re.DOTALL,
)
_BRACE = re.compile(r"[{}]")
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_CONTINUATION = re.compile(r"\\[ \t\r]*\n")


@dataclass
class Group:
    """One Liberty group: ``kind (arguments) { attributes, complex attributes, groups }``."""

    kind: str
    arguments: list[str]
    attributes: dict[str, str] = field(default_factory=dict)
    complex: dict[str, list[str]] = field(default_factory=dict)
    groups: list["Group"] = field(default_factory=list)

    def of(self, kind: str) -> Iterator["Group"]:
        """The direct groups of one kind."""
        return (group for group in self.groups if group.kind == kind)

    def number(self, name: str, default: float = 0.0) -> float:
        """A numeric attribute."""
        return float(self.attributes[name]) if name in self.attributes else default

    @property
    def name(self) -> str:
        """The first argument."""
        return self.arguments[0] if self.arguments else ""


def read_text(path: Path) -> str:
    """The text of a ``.lib`` or ``.lib.gz`` file.

    Raises:
        InputError: missing, truncated or not a Liberty file.
    """
    try:
        data = Path(path).read_bytes()
        if data[:2] == b"\x1f\x8b":
            data = gzip.decompress(data)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        raise InputError(f"{path}: the gzip stream is truncated or damaged; fetch the Liberty file again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None
    text = _CONTINUATION.sub("\n", _COMMENT.sub(" ", data.decode("latin-1")))
    if not re.search(r"\blibrary\s*\(", text[:20000]):
        raise InputError(f"{path}: must be a Liberty file with a library group, not something else")
    return text


def parse_group(text: str, origin: str) -> Group:
    """The ``library`` group of a Liberty text without comments; groups that nothing here reads are skipped.

    Raises:
        InputError: bad syntax, or an end of file inside a group (naming the last cell begun).
    """
    root = Group("file", [])
    stack = [root]
    position = 0
    while position < len(text):
        match = _STATEMENT.match(text, position)
        if match is None:
            if text[position:].isspace():
                break
            if len(stack) > 1 and "\n" not in text[position:].strip():
                break  # the last line is cut off: reported below
            line = text.count("\n", 0, position) + 1
            raise InputError(
                f"{origin}: cannot be read as Liberty near line {line}: {text[position:].split()[0][:40]!r}"
            )
        position = match.end()
        kind, arguments, opener, attribute, value, closer = match.groups()
        if attribute is not None:
            stack[-1].attributes[attribute] = value.strip().strip('"')
        elif closer is not None:
            if len(stack) == 1:
                raise InputError(
                    f"{origin}: has a closing brace too many near line {text.count(chr(10), 0, position) + 1}"
                )
            stack.pop()
        elif kind is not None and opener == "{":
            if kind in _WANTED_GROUPS:
                group = Group(kind, _split_arguments(arguments))
                stack[-1].groups.append(group)
                stack.append(group)
            else:
                position = _skip(text, position)
        elif kind is not None:
            stack[-1].complex.setdefault(kind, []).extend(_split_arguments(arguments))
    if len(stack) > 1 or not root.groups:
        cells = [group.name for group in (root.groups[0].groups if root.groups else []) if group.kind == "cell"]
        where = f"inside cell {cells[-1]}" if cells else "before the first cell"
        raise InputError(f"{origin}: the file ends {where}: it is truncated")
    return root.groups[0]


def _skip(text: str, position: int) -> int:
    """The position after the brace that closes a group opened just before ``position``, or the end."""
    depth = 1
    for brace in _BRACE.finditer(text, position):
        depth += 1 if brace.group() == "{" else -1
        if depth == 0:
            return brace.end()
    return len(text)


def _split_arguments(text: str) -> list[str]:
    """Arguments of a group or complex attribute: a quoted one may hold commas and stays whole."""
    pairs = re.findall(r'"([^"]*)"|([^,\s"\\]+)', text)
    return [quoted or bare for quoted, bare in pairs]
