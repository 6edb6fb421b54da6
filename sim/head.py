"""lm_head in balanced-ternary digits, which a ternary array multiplies as trits of linears; bits of the embedding."""

from typing import Literal

from hw.config import ArrayConfig
from hw.errors import InputError
from quant.manifest import Manifest
from sim.execution import Execution
from sim.trace.build import Trace

__all__ = ["check_head", "choose_head", "embedding_bits"]

_EMBEDDING_BITS = {1: 2, 2: 4, 3: 8, 4: 8}  # of an entry in so many digits, whole fields of two bits and more


def choose_head(array: ArrayConfig, execution: Execution, manifest: Manifest | None) -> int | None:
    """Digits of lm_head where a run says nothing: those of the quantized model, where ``array`` multiplies them.

    None: its weights are as wide as ``head_bits`` says.
    """
    digits = None if manifest is None else manifest.digits_of("head")
    elsewhere = execution.placement.get("lm_head", "array") != "array"
    if digits is None or elsewhere or not array.arithmetic.stores_trits or digits > _most_digits(array):
        return None
    return digits


def embedding_bits(manifest: Manifest | None) -> Literal[2, 4, 8, 16]:
    """Bits of an embedding weight in DRAM where a run says nothing: those that hold the model's digits, else 16."""
    digits = None if manifest is None else manifest.digits_of("embedding")
    return 16 if digits is None else _EMBEDDING_BITS.get(digits, 16)


def check_head(trace: Trace, array: ArrayConfig) -> None:
    """Refuse digits of lm_head that ``array`` does not multiply.

    Raises:
        InputError: with what it lacks, and what works.
    """
    digits = trace.formats.head_digits
    if digits is None:
        return
    if not array.arithmetic.stores_trits:
        raise InputError(f"head_digits must be left out with {array.mac} lanes of array {array.name!r}, not {digits}")
    most = _most_digits(array)
    if digits > most:
        raise InputError(
            f"head_digits must be at most {most} on array {array.name!r}, whose planes are {array.planes} and digits "
            f"{str(array.digits).lower()}, not {digits}; or its planes must be {digits} and its digits true"
        )
    array.check_k(trace.shape.hidden_size, "lm_head", digits if digits > 1 else 0)


def _most_digits(array: ArrayConfig) -> int:
    return array.planes if array.digits else 1
