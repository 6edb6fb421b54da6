"""The controls of the explorer: eight of the design and one of its rivals, each with its values, unit and default.

A control is a choice among shipped names, or a slider over stops; the address may hold any number between the outer
stops. Nothing else reaches a simulation, so that no word of a browser names a file.
"""

from functools import cache
from typing import NamedTuple, get_args

from energy.costs.sources import source_names
from energy.job import Job, Rivals
from energy.reports.numbers import significant, thin
from energy.reports.rows import si
from energy.sizing import Hold
from hw.config import array_names, load_array
from quant.shapes import load_shape, model_names
from sim.memory import load_memory, memory_names
from sim.trace.statistics import GAUSSIAN_ZERO_FRACTION

__all__ = ["Control", "Value", "controls"]

Value = str | int | float

_SIZED = ("16x16", "64x32", "128x64")  # arrays that are not shipped, in the formats of any array of that size

_KV = {
    "auto": "as the array can: 4 and 3 digits, else 8 bits",
    "digits-5-5": "5 and 5 digits, on the array",
    "digits-4-4": "4 and 4 digits, on the array",
    "digits-4-3": "4 and 3 digits, on the array",
    "digits-3-3": "3 and 3 digits, on the array",
    "bits-16": "16 bits, on the vector unit",
    "bits-8": "8 bits, on the vector unit",
    "bits-4": "4 bits, on the vector unit",
}

_HOLDS = {
    "lanes": "as many lanes",
    "compute-area": "the same area of array and vector unit",
    "area": "the same silicon area",
    "power": "the same power on the chip in prefill",
    "bandwidth": "the same memory alone, prefill as fast",
}

_NODES = {  # of cost sources, where their name does not say it
    "gates:sky130": "130 nm",
    "gates:ihp": "130 nm",
    "gates:gf180": "180 nm",
    "gates:asap7": "7 nm",
    "gates:gt2n": "2 nm",
    "fpga:7series": "28 nm",
    "fpga:ecp5": "40 nm",
    "fpga:ultrascale+": "16 nm",
}


class Control(NamedTuple):
    """One control; ``texts``: what a person reads for each of ``stops``."""

    name: str  # in the address
    group: str
    label: str
    unit: str
    default: Value
    stops: tuple[Value, ...]
    texts: tuple[str, ...]
    slider: bool = False

    @property
    def whole(self) -> bool:
        """Whether its numbers are whole ones."""
        return isinstance(self.default, int)

    def text(self, value: Value) -> str:
        """``value`` as it is read, also between two stops."""
        if value in self.stops:
            return self.texts[self.stops.index(value)]
        return number_text(self.name, value)


def number_text(name: str, value: Value) -> str:
    """A number of a slider with its unit."""
    if name == "zeros":
        return thin(f"{100 * float(value):.3g} %")
    return significant(float(value), 12)


@cache
def controls() -> dict[str, Control]:
    """All controls by name, in the order of the page."""
    job = Job()
    arrays = [*array_names(), *_SIZED]
    zeros = sorted({0.0, 0.1, 0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, round(GAUSSIAN_ZERO_FRACTION, 3)})
    found = [
        _choice("model", "model", "model", "parameters", job.model, {one: _model(one) for one in model_names()}),
        _slider("prompt", "model", "prompt", "tokens, then 128", job.prefill,
                [2**shift for shift in range(5, 17)]),
        _slider("batch", "model", "batch", "sequences", job.batch, [2**shift for shift in range(8)]),
        _choice("array", "machine", "array", "rows x columns", job.array, {one: _array(one) for one in arrays}),
        _choice("costs", "machine", "costs", "technology", job.costs, {one: _costs(one) for one in source_names()}),
        _slider("zeros", "machine", "zero weights", "share of trits", round(GAUSSIAN_ZERO_FRACTION, 3), zeros),
        _choice("memory", "memory", "memory", "sustained", job.memory,
                {one: _memory(one) for one in memory_names()}),
        _choice("kv", "memory", "K and V", "per element", "auto", _KV),
        _choice("hold", "hold equal", "rivals have", "INT8, FP16, W2A8", Rivals().hold,
                {one: _HOLDS[one] for one in get_args(Hold)}),
    ]  # fmt: skip
    return {one.name: one for one in found}


def _choice(name: str, group: str, label: str, unit: str, default: Value, texts: dict[str, str]) -> Control:
    return Control(name, group, label, unit, default, tuple(texts), tuple(texts.values()))


def _slider(name: str, group: str, label: str, unit: str, default: Value, stops: list) -> Control:
    texts = tuple(number_text(name, one) for one in stops)
    return Control(name, group, label, unit, default, tuple(stops), texts, slider=True)


def _model(name: str) -> str:
    return f"{name} · {significant(load_shape(name).total_parameters / 1e9)} G"


def _array(name: str) -> str:
    array = load_array(name)
    size = f"{array.rows}x{array.cols}"
    return name if name == size else f"{name} · {size}"


def _costs(name: str) -> str:
    return f"{name} · {_NODES[name]}" if name in _NODES else name


def _memory(name: str) -> str:
    return f"{name} · {si(load_memory(name).bytes_per_s, 'B/s')}"
