"""The methods in one picture: accuracy against true bits, coloured by energy per token, collapsed ones crossed out."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from energy.costs.sources import load_source
from energy.job import Job
from energy.model import energy_of
from energy.reports.charts.plane import Line, Point, plane
from energy.reports.numbers import significant, thin
from energy.reports.pages.document import standalone
from energy.study.accuracy import manifest_of, measured_methods
from hw.artifact import write_text
from hw.config import load_array
from quant.manifest import COLLAPSED
from quant.shapes import load_shape

__all__ = ["draw_methods", "measure_energies", "method_points", "methods_text"]

# Models by their names in the results -> the shape that is simulated.
_MODELS = {"smollm2-135m": "smollm2-135m", "qwen2.5-coder-0.5b": "qwen2.5-0.5b"}
_MACHINE = {"array": "edge-32x32", "memory": "lpddr5-6400", "costs": "horowitz-45nm"}
_WIDE = 860  # pixels
_MOST = 100.0  # times full precision: what is worse stands at the edge
_SHADES = ("#1a7f5a", "#7fb069", "#e6b035", "#d9702b", "#a3262a")  # from little energy to much
_UNKNOWN = "#9aa0a6"


class MethodPoint(NamedTuple):
    """The most accurate run of a method on a model; ``joules`` per token written, None: not simulated."""

    model: str
    method: str
    bits: float
    times: float  # perplexity over that of full precision, int8 activations
    joules: float | None
    options: Mapping[str, object]  # those given, beside the defaults

    @property
    def collapsed(self) -> bool:
        """Whether it is not to be used."""
        return self.times >= COLLAPSED


def measure_energies(path: Path, compared: Path) -> None:
    """Write the energy per token of the methods on every model of the picture.

    As ``compared`` says, a comparison of finished runs of one model; where it says nothing, simulated from what a
    method stores. Methods that store more than planes are in the comparison, or stay grey.
    """
    array, costs = load_array(_MACHINE["array"]), load_source(_MACHINE["costs"])
    found: dict[str, dict[str, float]] = {}
    for model, dimensions in _MODELS.items():
        shape, job = load_shape(dimensions), Job(model=dimensions, **_MACHINE)
        results = {method: job.simulate(shape, array, manifest_of(method, shape)) for method in measured_methods()}
        found[model] = {name: energy_of(one, costs).phase("decode").joules_per_token for name, one in results.items()}
    document = json.loads(compared.read_text(encoding="utf-8"))
    for row in document["rows"][1:]:
        found[document["model"]][row["method"].split(" (")[0]] = row["decode_j_per_token"]
    write_text(path, json.dumps({"machine": _MACHINE, "joules": found}, indent=1) + "\n")


def method_points(rows: Iterable[Mapping], joules: Mapping[str, Mapping[str, float]]) -> list[MethodPoint]:
    """The most accurate row of each method on each model of the picture."""
    best: dict[tuple[str, str], MethodPoint] = {}
    for row in rows:
        perplexity, key = row["perplexity"], (row["model"], row["method"])
        if row["model"] not in _MODELS or not {"a8", "fp_a8"} <= perplexity.keys():
            continue
        times = perplexity["a8"] / perplexity["fp_a8"]
        if key not in best or times < best[key].times:
            known = joules.get(row["model"], {}).get(row["method"])
            best[key] = MethodPoint(*key, row["true_bits"], times, known, row["options"])
    return sorted(best.values(), key=lambda point: (list(_MODELS).index(point.model), point.times))


def draw_methods(path: Path, rows: Iterable[Mapping], energies: Path) -> None:
    """Draw the picture as an SVG file of its own."""
    document = json.loads(energies.read_text(encoding="utf-8"))
    points = method_points(rows, document["joules"])
    shades = _Shades(points)
    bits = [point.bits for point in points]
    edges = min(bits) * 0.95, max(bits) * 1.05
    figure = plane(
        [_mark(point, shades) for point in points],
        [Line([(edges[0], COLLAPSED), (edges[1], COLLAPSED)], "dotted")],
        f"true bits per weight; circles {', squares '.join(_MODELS)}; colour: J/token over the model's least",
        f"perplexity over that of full precision, A8; crossed: unusable; at the top: {_MOST:g} and more",
        "Accuracy of the methods against true bits",
        "; ".join(_tip(point) for point in points),
        460,
        keys=shades.keys,
        wide=_WIDE,
    )
    write_text(path, standalone(figure, _WIDE))


def methods_text(rows: Iterable[Mapping], energies: Path) -> str:
    """Below the picture: which methods may be used on which model, and which collapsed."""
    document = json.loads(energies.read_text(encoding="utf-8"))
    points = method_points(rows, document["joules"])
    lines = []
    for model in _MODELS:
        own = [point for point in points if point.model == model]
        usable = [f"`{one.method}` ({one.bits:.3f} bits, {one.times:.2f} x)" for one in own if not one.collapsed]
        collapsed = [f"`{one.method}` ({one.times:.3g} x)" for one in own if one.collapsed]
        lines.append(
            f"- **{model}**: usable {', '.join(usable) or 'none'}; unusable, {COLLAPSED:g} times the perplexity of "
            f"full precision or more: {', '.join(collapsed) or 'none'}."
        )
        if given := [f"`{one.method}` {_given(one)}" for one in own if one.options]:
            lines.append(f"- Options given on {model}: {'; '.join(given)}.")
    machine = ", ".join(document["machine"].values())
    lines.append(
        f"- Colour: J/token of decode, 128 tokens after 512 on {machine}, over the least of the same model; grey where "
        "it was not simulated."
    )
    return "\n".join(lines)


class _Shades:
    """Colours of energies, in equal steps of what they are times the least of their model."""

    def __init__(self, points: Iterable[MethodPoint]) -> None:
        self._least: dict[str, float] = {}
        known = [(point.model, point.joules) for point in points if point.joules is not None]
        for model, joules in known:
            self._least[model] = min(joules, self._least.get(model, joules))
        self._most = max((joules / self._least[model] for model, joules in known), default=1.0)

    def of(self, point: MethodPoint) -> str:
        """The colour of one point."""
        if point.joules is None:
            return _UNKNOWN
        share = (point.joules / self._least[point.model] - 1) / max(self._most - 1, 1e-9)
        return _SHADES[min(len(_SHADES) - 1, int(share * len(_SHADES)))]

    @property
    def keys(self) -> list[tuple[str, str]]:
        """Each colour and the least times of its step."""
        step = (self._most - 1) / len(_SHADES)
        return [(shade, f"from {1 + number * step:.1f} x") for number, shade in enumerate(_SHADES)]


def _mark(point: MethodPoint, shades: _Shades) -> Point:
    beyond = f" {point.times:.2g} x" if point.times > _MOST else ""
    return Point(
        point.bits,
        min(point.times, _MOST),
        _tip(point),
        point.method + beyond,
        "faint" if point.collapsed else "strong",
        square=point.model != next(iter(_MODELS)),
        fill=shades.of(point),
        crossed=point.collapsed,
    )


def _tip(point: MethodPoint) -> str:
    energy = "energy not simulated" if point.joules is None else f"{_millijoules(point.joules)} per token"
    state = ", collapsed: unusable" if point.collapsed else ""
    return thin(
        f"{point.method} on {point.model}: {point.bits:.3f} true bits, {significant(point.times)} times the perplexity "
        f"of full precision, {energy}{state}"
    )


def _given(point: MethodPoint) -> str:
    """What a reader types after ``--options``."""
    return f"`{' '.join(f'{name}={_typed(value)}' for name, value in point.options.items())}`"


def _typed(value: object) -> str:
    return json.dumps(value) if value is None or isinstance(value, bool) else str(value)


def _millijoules(joules: float) -> str:
    return f"{1e3 * joules:.1f} mJ"
