"""What was measured of quantization methods and of formats of K and V: perplexities by model; what a method stores.

``energy/tech/methods.json`` holds the best perplexity of every model and method of the committed results, and by how
much each format of K and V raises that of a model, so that a study needs no checkout; ``python -m energy docs`` makes
it anew. A method is simulated with its planes, and with a scale (and
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
from sim.trace.ops import KvDigits
from sim.trace.statistics import GAUSSIAN_ZERO_FRACTION

__all__ = [
    "METHODS_FILE",
    "best_perplexities",
    "kv_loss_of",
    "kv_losses",
    "manifest_of",
    "measured_methods",
    "measured_models",
    "perplexity_of",
]

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
    "roste": _Format(1),
}


def measured_methods() -> list[str]:
    """Names of the methods that a study may name."""
    return list(_FORMATS)


def perplexity_of(method: str, model: str) -> float | None:
    """Perplexity of WikiText-2 with int8 activations, of the best run; None: ``model`` was not measured so."""
    return _measured("perplexity").get(model, {}).get(method)


def measured_models() -> list[str]:
    """Models of which a method or a format of K and V was measured."""
    return sorted({*_measured("perplexity"), *_measured("kv_loss")})


def kv_loss_of(model: str, digits: KvDigits | None, kv_bits: int) -> float | None:
    """Rise of WikiText-2's perplexity by K and V in ``digits``, else in ``kv_bits``; None: not measured of ``model``.

    0.01 is one per cent more than over K and V as they are, with the weights unquantized.
    """
    if digits is None:
        return {16: 0.0, 8: _measured("kv_loss").get(model, {}).get("int8")}.get(kv_bits)
    key, value = digits.key_digits, digits.value_digits
    spelled = f"digits:{key if key == value else f'{key}/{value}'}{',rotate' if digits.rotate else ''}"
    return _measured("kv_loss").get(model, {}).get(spelled)


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


def kv_losses(rows: Iterable[Mapping]) -> dict[str, dict[str, float]]:
    """Model -> format -> rise of perplexity among ``rows`` of ``tritforge kv``, of weights that are not quantized."""
    found: dict[str, dict[str, float]] = {}
    for row in rows:
        if row["weights"] == "float" and row["kv"] != "float":
            found.setdefault(row["model"], {})[row["kv"]] = row["change"]
    return found


@cache
def _measured(what: str, path: Path = METHODS_FILE) -> dict[str, dict[str, float]]:
    return json.loads(path.read_text(encoding="utf-8"))[what]
