"""Whether a model's weights are ternary already, and the method that this leaves; without torch."""

from pathlib import Path

from hw.errors import InputError
from quant.native.bitnet_config import bitnet_form
from quant.native.gguf_file import is_ternary
from quant.registry import AUTO, NATIVE

__all__ = ["is_native", "method_for"]

_DEFAULT = "pt-bitnet"


def is_native(path: Path) -> bool:
    """Whether ``path`` (see ``quant.source.located``) is a BitNet directory or a ternary .gguf file.

    Raises:
        InputError: one with settings that are not supported, or a damaged file.
    """
    return bitnet_form(path) is not None if path.is_dir() else path.suffix == ".gguf" and is_ternary(path)


def method_for(method: str, path: Path) -> str:
    """The method to use on the weights at ``path``: the given one, or the one that ``AUTO`` stands for.

    Raises:
        InputError: a method that would quantize trits again, or ``native`` where nothing is ternary.
    """
    native = is_native(path)
    if method == AUTO:
        return NATIVE if native else _DEFAULT
    if native and method != NATIVE:
        what = "quantization_config says bitnet" if path.is_dir() else "its linears are of GGUF's ternary types"
        raise InputError(
            f"{path}: holds ternary weights already ({what}), which method {method!r} would quantize again; "
            "give method native, or none, to take trits and scales as they are"
        )
    if method == NATIVE and not native:
        raise InputError(
            f"{path}: method native needs weights that are ternary already (a BitNet directory, or a .gguf file of "
            f"type TQ1_0, TQ2_0 or I2_S); give another method, such as {_DEFAULT}"
        )
    return method
