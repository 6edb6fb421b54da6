"""Colours with a fixed meaning on every page: six for where time and energy go, one for ternary, tints for rivals.

The six start from those of Okabe and Ito, moved until people of any colour vision tell them apart; a test simulates
the deficiencies. Other causes have colours of their own; a part or cause that is new here takes one
that is free.

Ref: Okabe and Ito, Color Universal Design, 2008. Machado, Oliveira, Fernandes, A Physiologically-based Model for
Simulation of Color Vision Deficiency, 2009 (in the test).
"""

from collections.abc import Iterable
from itertools import cycle

__all__ = ["DARK", "LIGHT", "MEANINGS", "label_of", "slots", "variables"]

# slot -> fill, and the ink of a label on it
LIGHT = {
    "array": ("#0072b2", "#ffffff"),
    "sram": ("#e69f00", "#241a00"),
    "dram": ("#c8500a", "#ffffff"),
    "vector": ("#6cc0ee", "#08202e"),
    "leakage": ("#a0a0a0", "#101010"),
    "host": ("#a3447f", "#ffffff"),
    "dram-rows": ("#e8894a", "#2a1200"),
    "dram-standby": ("#f3b78f", "#2a1200"),
    "dram-refresh": ("#8a3405", "#ffffff"),
    "other-1": ("#b7b02c", "#1f1e00"),
    "other-2": ("#6a3d8f", "#ffffff"),
    "other-3": ("#3f9e8d", "#04211c"),
    "other-4": ("#7a2e1d", "#ffffff"),
    "other-5": ("#e3d35b", "#241f00"),
    "other-6": ("#4f4a8c", "#ffffff"),
}
DARK = LIGHT | {
    "array": ("#2a8fd0", "#00131f"),
    "dram": ("#e0661f", "#1f0a00"),
    "dram-refresh": ("#b04a12", "#ffffff"),
    "vector": ("#9bd8fb", "#08202e"),
    "leakage": ("#b5b5b5", "#101010"),
    "host": ("#d0629f", "#1f0513"),
    "other-2": ("#a57bd0", "#170a24"),
    "other-4": ("#cf6e57", "#1f0600"),
    "other-6": ("#8e88d6", "#0d0b26"),
}

MEANINGS = {  # part or cause -> the slot that means it everywhere
    "array": "array",
    "ideal": "array",
    "sram": "sram",
    "weight_stall": "sram",
    "dram": "dram",
    "dram_stall": "dram",
    "dram_rows": "dram-rows",  # shades of DRAM's
    "dram_standby": "dram-standby",
    "dram_refresh": "dram-refresh",
    "vector": "vector",
    "leakage": "leakage",
    "host": "host",
    "fill_drain": "other-1",
    "output_stall": "other-2",
    "port_stall": "other-3",
    "clock": "other-5",
    "wires": "other-6",
}

_LABELS = {
    "ideal": "array busy",
    "fill_drain": "fill, drain",
    "weight_stall": "weight bus",
    "dram_stall": "DRAM",
    "vector": "vector unit",
    "port_stall": "ports of buffers",
    "output_stall": "results leaving",
    "sram": "SRAM",
    "dram": "DRAM bits",
}
_OTHERS = tuple(slot for slot in LIGHT if slot.startswith("other-"))


def slots(keys: Iterable[str]) -> dict[str, str]:
    """Key -> slot: by its meaning, or the next of the other colours that no meaning of ``keys`` takes."""
    wanted = list(keys)
    taken = {MEANINGS[key] for key in wanted if key in MEANINGS}
    free = cycle([slot for slot in _OTHERS if slot not in taken] or _OTHERS)
    return {key: MEANINGS[key] if key in MEANINGS else next(free) for key in wanted}


def label_of(key: str) -> str:
    """A part or cause in words."""
    return _LABELS.get(key, key.replace("_", " ").replace("dram", "DRAM"))


def variables(theme: dict[str, tuple[str, str]]) -> str:
    """CSS variables ``--SLOT`` and ``--on-SLOT``, for the style sheet."""
    return "".join(f"--{slot}:{fill};--on-{slot}:{ink};" for slot, (fill, ink) in theme.items())
