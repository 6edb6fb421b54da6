"""What no figure of a report contains, in sentences; what a part of the energy covers is left out of the list."""

from collections.abc import Iterable

__all__ = ["limits"]

_NEVER = (
    "Sampling of the next token, tokenization, and whatever software runs beside the machine.",
    "Pads, PHYs beyond the interface's share of a DRAM bit, and the package.",
    "Corners: costs are of one process corner, voltage and temperature each.",
    "Contention of several masters for DRAM, and transfers between packages.",
)
_UNLESS = {  # words in the name of a part -> what is missing where no part that takes energy has them
    ("refresh", "standby"): "DRAM's refresh and idle power apart from its bits: the figure per bit includes "
    "what its source included.",
    ("clock",): "A clock tree's own power: only the clock pins of registers are in.",
    ("wires",): "Wires between placed cells.",
}


def limits(parts: Iterable[str]) -> list[str]:
    """Sentences; ``parts``: of the energy that was summed."""
    names = " ".join(parts)
    return [*_NEVER, *(text for words, text in _UNLESS.items() if not any(word in names for word in words))]
