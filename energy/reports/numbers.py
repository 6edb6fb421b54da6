"""Numbers of the pages: three significant digits, a unit for a whole column, decimal signs under each other."""

import math
import re
from collections.abc import Sequence

from energy.reports.rows import si

__all__ = ["FIGURE_SPACE", "POINT_SPACE", "THIN", "aligned", "common_unit", "significant", "thin"]

THIN = "\u202f"  # between a number and its unit, and between thousands; a line does not break there
FIGURE_SPACE, POINT_SPACE = "\u2007", "\u2008"  # as wide as a digit and as a decimal sign

_DIGITS = 3
_PREFIXED = ("s", "J", "W", "B", "B/s", "Hz", "J s")  # units that take an SI prefix


def significant(value: float, digits: int = _DIGITS) -> str:
    """``value`` with ``digits`` significant digits, thousands apart: ``12345`` is ``12 300`` with a thin space."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    decade = int(f"{value:.{digits - 1}e}".partition("e")[2])  # after rounding: 999.6 is 1.00e3
    if decade < -6 or decade > 11:
        return f"{value:.{digits - 1}e}"
    rounded = round(value, digits - 1 - decade)
    decimals = 0 if digits > _DIGITS and rounded == int(rounded) else max(0, digits - 1 - decade)
    return f"{rounded:,.{decimals}f}".replace(",", THIN)


def common_unit(values: Sequence[float], unit: str) -> tuple[str, float]:
    """The unit in which the largest of ``values`` is from 1 to 999, and the factor to it: ``("mJ", 1000.0)``."""
    largest = max((abs(value) for value in values if math.isfinite(value)), default=0.0)
    if largest == 0 or unit not in _PREFIXED:
        return unit, 1.0
    shown = si(largest, unit).partition(" ")[2]
    prefix = shown.removesuffix(unit)
    exponent = {"f": -5, "p": -4, "n": -3, "µ": -2, "m": -1, "": 0, "k": 1, "M": 2, "G": 3, "T": 4, "P": 5}[prefix]
    return shown, 1000.0**-exponent


def aligned(texts: Sequence[str]) -> list[str]:
    """``texts`` padded on the right, so that decimal signs of right-aligned lines of tabular digits meet."""
    fractions = [len(text.partition(".")[2]) for text in texts]
    longest = max(fractions, default=0)
    pads = [
        (POINT_SPACE if longest and not own else "") + FIGURE_SPACE * (longest - own) if _is_number(text) else ""
        for text, own in zip(texts, fractions, strict=True)
    ]
    return [text + pad for text, pad in zip(texts, pads, strict=True)]


def thin(text: str) -> str:
    """``text`` as it is printed: thin spaces before units and per cents and between thousands, × and a true minus."""
    text = _BEFORE_UNIT.sub(THIN, text)
    text = _THOUSANDS.sub(THIN, text)
    return _MINUS.sub("−", _TIMES.sub(f"{THIN}×", text))


_BEFORE_UNIT = re.compile(r"(?<=\d) ?(?=%)|(?<=\d) (?=[kMGTmµnpf]?(?:s|J|W|B|B/s|Hz|bit|tokens/s|mm2|mm²)\b)")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?:\D|$))")
_TIMES = re.compile(r"(?<=\d)x(?![\w])")  # 1.58x, not 64x64
_MINUS = re.compile(r"(?<![\w.,-])-(?=\d)")


def _is_number(text: str) -> bool:
    return text[:1].isdigit() or text[:2].lstrip("-+").isdigit()
