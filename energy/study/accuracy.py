"""What was measured of quantization methods: perplexities by model, and the format of the weights that each stores.

``energy/tech/methods.json`` holds the best perplexity of every model and method of the committed results, so that a
study needs no checkout; ``tritforge docs`` makes it anew. A method is simulated with its planes, and with a scale (and
an offset) of 16 bits per group of columns; zero fractions are those of Gaussian weights.
"""

import json
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from energy.costs.tables import TECH_FOLDER
from hw.division import ceil_divide
from hw.errors import InputError
from quant.manifest import LinearEntry, Manifest
from quant.shapes import LINEAR_KINDS, ModelShape
from sim.trace.statistics import GAUSSIAN_ZERO_FRACTION

__all__ = ["METHODS_FILE", "best_perplexities", "manifest_of", "measured_methods", "perplexity_of"]

METHODS_FILE = TECH_FOLDER / "methods.json"

_SCALE_BITS = 16
_GROUP = 128


class _Format(NamedTuple):
    """Planes of trits, and whether groups have offsets."""

    planes: int
    offsets: bool = False


# Methods that store planes of trits alone: others multiply some weights on the vector unit, how many of them only the
# weights of a model tell.
_FORMATS = {
    "rtn": _Format(1),
    "gptq": _Format(1),
    "gptq-2bit": _Format(2, True),
    "pt-bitnet": _Format(1),
    "pt-bitnet-full": _Format(1),
    "omniquant": _Format(2, True),
    "pt2-llm": _Format(1, True),
    "ptqtp": _Format(2),
    "ptqtp-tied": _Format(2),
}


def measured_methods() -> list[str]:
    """Names of the methods that a study may name."""
    return list(_FORMATS)


def perplexity_of(method: str, model: str) -> float | None:
    """Perplexity of WikiText-2 with int8 activations, of the best run; None: ``model`` was not measured so."""
    return _perplexities().get(model, {}).get(method)


def manifest_of(method: str, shape: ModelShape) -> Manifest:
    """``shape`` as ``method`` stores it.

    Raises:
        InputError: a mixture of experts, of which no method was measured.
    """
    if shape.experts is not None:
        raise InputError(f"method {method!r} must have a model without experts, not {shape.name!r}; leave method out")
    planes, offsets = _FORMATS[method]
    entries = []
    for layer in range(shape.layers):
        for kind in LINEAR_KINDS:
            n, k = shape.linear(kind)
            scales = n * ceil_divide(k, _GROUP) * _SCALE_BITS
            entries.append(
                LinearEntry(
                    layer=layer,
                    kind=kind,
                    n=n,
                    k=k,
                    planes=planes,
                    group=_GROUP,
                    scale_kind="group",
                    zero_fraction=GAUSSIAN_ZERO_FRACTION,
                    code_bits=2 * planes * n * k,
                    scale_bits=planes * scales,
                    offset_bits=scales if offsets else 0,
                )
            )
    return Manifest(
        model=shape.name, shape=shape, method=method, options={}, packing="2bit", linears=entries, weights_sha256="",
        source_sha256="", calibration="",
    )  # fmt: skip


def best_perplexities(rows: Iterable[Mapping]) -> dict[str, dict[str, float]]:
    """Model -> method -> least perplexity with int8 activations among ``rows`` of the committed results."""
    best: dict[str, dict[str, float]] = {}
    for row in rows:
        value, methods = row["perplexity"].get("a8"), best.setdefault(row["model"], {})
        if value is not None and value < methods.get(row["method"], float("inf")):
            methods[row["method"]] = value
    return best


@cache
def _perplexities(path: Path = METHODS_FILE) -> dict[str, dict[str, float]]:
    return json.loads(path.read_text(encoding="utf-8"))["perplexity"]
