"""``check_head``: lm_head in balanced-ternary digits, which a ternary array multiplies as it does trits of linears."""

from hw.config import ArrayConfig
from hw.errors import InputError
from sim.trace.build import Trace

__all__ = ["check_head"]


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
    most = array.planes if array.digits else 1
    if digits > most:
        raise InputError(
            f"head_digits must be at most {most} on array {array.name!r}, whose planes are {array.planes} and digits "
            f"{str(array.digits).lower()}, not {digits}; or its planes must be {digits} and its digits true"
        )
    array.check_k(trace.shape.hidden_size, "lm_head", digits if digits > 1 else 0)
