"""``State``: a value for every control; addresses to states and back, and what a state simulates.

An address holds what differs from the defaults, and under ``pin`` the address of the design that was pinned.
"""

from typing import NamedTuple
from urllib.parse import parse_qsl, urlencode

from energy.explorer.controls import Control, Value, controls
from energy.job import Job, Rivals
from hw.document import validate_document
from hw.errors import InputError, did_you_mean

__all__ = ["DECODE", "PIN", "RIVALS", "State", "address", "fields_of", "job_of", "read_address", "rivals_of"]

PIN = "pin"
DECODE = Job().decode  # steps of one token
RIVALS = "int8,fp16,w2a8"

_KV_BITS = 8  # of an element where K and V are not digits, and of the rivals'
_LONGEST = 2000  # characters of an address
_SHOWN = 60  # of a refused word


class State(NamedTuple):
    """A value for every control."""

    model: str
    prompt: int
    batch: int
    array: str
    costs: str
    zeros: float
    memory: str
    kv: str
    hold: str

    @classmethod
    def default(cls) -> "State":
        """What the explorer opens with."""
        return cls(**{name: control.default for name, control in controls().items()})  # type: ignore[arg-type]


def read_address(query: str) -> tuple[State, State | None]:
    """The state that ``query`` says, and the one that it pins.

    Raises:
        InputError: an unknown control, one that is given twice, a value that it cannot have.
    """
    pairs = _pairs(query, [*controls(), PIN])
    pinned = pairs.pop(PIN, None)
    return _state(pairs), None if pinned is None else _state(_pairs(pinned, list(controls())))


def address(state: State, pinned: State | None = None) -> str:
    """The query of ``state``: ``read_address`` of it gives both back."""
    pairs = {name: value for name, value in state._asdict().items() if value != controls()[name].default}
    return urlencode(pairs if pinned is None else pairs | {PIN: address(pinned)})


def job_of(state: State) -> Job:
    """The job that is simulated.

    Raises:
        InputError: fields that do not go together.
    """
    return validate_document(fields_of(state), Job, "explorer")


def fields_of(state: State) -> dict[str, object]:
    """Fields of the job beyond its defaults, by the names of options."""
    fields: dict[str, object] = {"model": state.model, "array": state.array, "memory": state.memory}
    fields |= {"costs": state.costs, "prefill": state.prompt, "batch": state.batch, "kv_bits": _KV_BITS}
    if state.zeros != controls()["zeros"].default:
        fields["zero_fraction"] = state.zeros
    kind, *counts = state.kv.split("-")
    if kind == "digits":
        fields |= {"attention": "array", "key_digits": int(counts[0]), "value_digits": int(counts[1])}
    if kind == "bits":
        fields |= {"attention": "vector", "kv_bits": int(counts[0])}
    return fields


def rivals_of(state: State) -> Rivals:
    """The machines beside it; their bus fetches a tile in as many cycles."""
    return validate_document({"rivals": RIVALS, "rival_bus": "balanced", "hold": state.hold}, Rivals, "explorer")


def _pairs(query: str, known: list[str]) -> dict[str, str]:
    if len(query) > _LONGEST:
        raise InputError(f"address must have at most {_LONGEST} characters, not {len(query)}")
    pairs: dict[str, str] = {}
    for name, text in parse_qsl(query, keep_blank_values=True):
        if name not in known:
            raise InputError(
                f"control must be one of {', '.join(known)}, not {_short(name)}{did_you_mean(name, known)}"
            )
        if name in pairs:
            raise InputError(f"{name} must be given once, not as {_short(pairs[name])} and {_short(text)}")
        pairs[name] = text
    return pairs


def _state(pairs: dict[str, str]) -> State:
    given = {name: _value(controls()[name], text) for name, text in pairs.items()}
    return State.default()._replace(**given)  # type: ignore[arg-type]


def _value(control: Control, text: str) -> Value:
    if not control.slider:
        if text not in control.stops:
            known = [str(one) for one in control.stops]
            meant = did_you_mean(text, known)
            raise InputError(f"{control.name} must be one of {', '.join(known)}, not {_short(text)}{meant}")
        return text
    low, high = control.stops[0], control.stops[-1]
    what = f"{control.name} must be a {'whole ' if control.whole else ''}number from {low} to {high}"
    try:
        value: int | float = int(text) if control.whole else float(text)
    except ValueError:
        raise InputError(f"{what}, not {_short(text)}") from None
    if not low <= value <= high:  # type: ignore[operator]
        raise InputError(f"{what}, not {_short(text)}")
    return value


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")
