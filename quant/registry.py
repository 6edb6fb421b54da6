"""The methods by name: each is a module of this package with ``Options`` and ``solve``; readable without torch."""

from importlib import import_module
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol

from hw.document import Record, validate_document
from hw.errors import InputError, did_you_mean

if TYPE_CHECKING:
    import torch

    from quant.weights.solution import LinearSolution

__all__ = [
    "AUTO",
    "METHODS",
    "NATIVE",
    "MethodOptions",
    "Solver",
    "WeightOnlyOptions",
    "check_method",
    "method_names",
    "options_for",
    "register",
    "solver",
]


class MethodOptions(Record):
    """Base of every method's options: frozen, unknown ones refused.

    ``rows_apart``: each row of weights is solved by itself, so linears with one input may be solved as one.
    """

    rows_apart: ClassVar[bool] = False

    @property
    def int8_calibration(self) -> bool:
        """Whether linears see int8 activations while calibrating, as on the hardware."""
        return True

    def for_kind(self, kind: str) -> "MethodOptions":
        """The options with which linears of one kind (``q_proj``) are solved: the same for all, unless overridden."""
        return self


class WeightOnlyOptions(MethodOptions):
    """Base of the options of methods that were published for float activations.

    ``calibrated``: the activations while calibrating: "A16" float, as in the papers; "A8" int8, as on the hardware.
    """

    calibrated: Literal["A16", "A8"] = "A16"

    @property
    def int8_calibration(self) -> bool:
        """See ``MethodOptions``."""
        return self.calibrated == "A8"


class Solver(Protocol):
    """A method as a module: ``Options`` (a ``MethodOptions``) and a pure function ``solve``.

    ``solve(weight, hessian, options)``: weight float32 (n, k); hessian float32 (k, k), ``X^T X`` of the linear's
    calibration inputs up to a positive factor, or None where the method does not use it.
    """

    Options: type[MethodOptions]

    def solve(self, weight: "torch.Tensor", hessian: "torch.Tensor | None", options: MethodOptions) -> "LinearSolution":
        """Quantize one linear."""
        ...


AUTO = "auto"  # the choice left to the weights: native where they are ternary already, else pt-bitnet
NATIVE = "native"  # no quantization: the trits and scales of a native ternary checkpoint, as they are

METHODS: dict[str, tuple[str, dict[str, object]]] = {}  # name -> module, options that the name fixes


def register(name: str, module: str, **fixed: object) -> None:
    """Add a method: ``module`` implements ``Solver``; ``fixed`` options are what tells names of one module apart."""
    METHODS[name] = (module, fixed)


register("rtn", "quant.methods.rtn")
register("gptq", "quant.methods.gptq")
register("gptq-2bit", "quant.methods.gptq", levels="2bit")
register("pt-bitnet", "quant.methods.pt_bitnet")
register("pt-bitnet-full", "quant.methods.pt_bitnet", strength="full")
register("pb-llm", "quant.methods.pb_llm")
register("pb-llm-qat", "quant.methods.pb_llm_qat")
register("billm", "quant.methods.billm")
register("omniquant", "quant.methods.omniquant")
register("pt2-llm", "quant.methods.pt2_llm")
register("ptqtp", "quant.methods.ptqtp")
register("ptqtp-tied", "quant.methods.ptqtp", tied=True)


def method_names() -> list[str]:
    """Names of all methods, in the order of registration."""
    return list(METHODS)


def solver(name: str) -> Solver:
    """The module of a method; this imports torch.

    Raises:
        InputError: unknown name (the known ones are listed).
    """
    return import_module(_entry(name)[0])  # type: ignore[return-value]


def options_for(name: str, given: dict[str, object]) -> MethodOptions:
    """Validated options of a method: the ones given over its defaults, and what its name fixes.

    Raises:
        InputError: unknown method, unknown option (the known ones are listed), or a value that is not allowed.
    """
    _, fixed = _entry(name)
    for field, value in fixed.items():
        if given.get(field, value) != value:
            raise InputError(f"method {name}: option {field!r} must be {value!r}, not {given[field]!r}")
    return validate_document({**given, **fixed}, solver(name).Options, f"method {name}")


def check_method(name: str) -> None:
    """Refuse an unknown method without importing torch.

    Raises:
        InputError: the known ones are listed.
    """
    known = (*METHODS, NATIVE, AUTO)
    if name not in known:
        raise InputError(f"method must be one of {', '.join(known)}, not {name!r}{did_you_mean(name, known)}")


def _entry(name: str) -> tuple[str, dict[str, object]]:
    check_method(name)
    return ("quant.methods.native", {}) if name == NATIVE else METHODS[name]
