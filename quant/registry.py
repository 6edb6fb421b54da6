"""The methods by name: each is a module that keeps the contract of ``quant.methods.method``; readable without torch."""

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

from hw.document import validate_document
from hw.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from quant.methods.method import Method, MethodOptions

__all__ = ["AUTO", "METHODS", "NATIVE", "check_method", "load_method", "method_names", "options_for", "register"]


class Entry(NamedTuple):
    """Where a method is, and the options that its name fixes."""

    module: str
    fixed: dict[str, object]


AUTO = "auto"  # the choice left to the weights: native where they are ternary already, else pt-bitnet
NATIVE = "native"  # no quantization: the trits and scales of a native ternary checkpoint, as they are

METHODS: dict[str, Entry] = {}  # those that quantize


def register(name: str, module: str, **fixed: object) -> None:
    """Add a method: ``module`` is a ``Method``; ``fixed`` options are what tells names of one module apart."""
    METHODS[name] = Entry(module, fixed)


register("rtn", "quant.methods.rtn")
register("gptq", "quant.methods.gptq")
register("gptq-2bit", "quant.methods.gptq", levels="2bit")
register("pt-bitnet", "quant.methods.pt_bitnet")
register("pt-bitnet-full", "quant.methods.pt_bitnet_full")
register("pb-llm", "quant.methods.pb_llm")
register("pb-llm-qat", "quant.methods.pb_llm_qat")
register("billm", "quant.methods.billm")
register("omniquant", "quant.methods.omniquant")
register("pt2-llm", "quant.methods.pt2_llm")
register("ptqtp", "quant.methods.ptqtp")
register("ptqtp-tied", "quant.methods.ptqtp", tied=True)
register("digits", "quant.methods.digits")
register("flexround", "quant.methods.trained.flexround")
register("lrq", "quant.methods.trained.lrq")
register("sherry", "quant.methods.sherry")
register("ptq1.61", "quant.methods.mixed.ptq161")
register("slim-llm", "quant.methods.mixed.slim_llm")
register("slim-llm+", "quant.methods.mixed.slim_llm_plus")
register("peqa", "quant.methods.trained.peqa")
register("roste", "quant.methods.trained.roste")
register("wkvquant", "quant.methods.trained.wkvquant")


def method_names() -> list[str]:
    """Names of all methods, in the order of registration."""
    return list(METHODS)


def load_method(name: str) -> "Method":
    """The module of a method; this imports torch.

    Raises:
        InputError: unknown name (the known ones are listed).
    """
    return import_module(_entry(name).module)  # type: ignore[return-value]


def options_for(name: str, given: dict[str, object]) -> "MethodOptions":
    """Validated options of a method: the ones given over its defaults, and what its name fixes.

    Raises:
        InputError: unknown method, unknown option (the known ones are listed, and who else has it), or a value that
            is not allowed.
    """
    model = load_method(name).Options
    fixed = _entry(name).fixed
    for field, value in fixed.items():
        if given.get(field, value) != value:
            raise InputError(f"method {name}: option {field!r} must be {value!r}, not {given[field]!r}")
    for field in given:
        if field not in model.model_fields and (others := _methods_with(field)):
            known = ", ".join(model.model_fields)
            raise InputError(
                f"method {name}: option {field!r} must be one of {known}; {field!r} is an option of {', '.join(others)}"
            )
    return validate_document({**given, **fixed}, model, f"method {name}")


def check_method(name: str) -> None:
    """Refuse an unknown method without importing torch.

    Raises:
        InputError: the known ones are listed.
    """
    known = (*METHODS, NATIVE, AUTO)
    if name not in known:
        raise InputError(f"method must be one of {', '.join(known)}, not {name!r}{did_you_mean(name, known)}")


def _entry(name: str) -> Entry:
    check_method(name)
    if name == AUTO:
        raise InputError(f"method must be named where no weights choose it: one of {', '.join(METHODS)}, not {name!r}")
    return Entry("quant.methods.native", {}) if name == NATIVE else METHODS[name]


def _methods_with(option: str) -> list[str]:
    """Methods that have an option and do not fix it."""
    found = [name for name in METHODS if option in load_method(name).Options.model_fields]
    return [name for name in found if option not in METHODS[name].fixed]
