"""How a run keeps K and V: as digits where a ternary array multiplies them, which not every array can."""

from hw.config import ArrayConfig
from hw.errors import InputError
from hw.formats import DIGIT_COUNTS, KEY_DIGITS, VALUE_DIGITS, DigitCount, planes_weight
from hw.golden import hadamard_block
from quant.manifest import Manifest
from sim.execution import Execution
from sim.trace.ops import KvDigits

__all__ = ["ATTENTION_PRODUCTS", "check_digits", "choose_digits", "measured_in_digits"]

ATTENTION_PRODUCTS = ("attention_scores", "attention_values")

_WAY_OUT = "or attention must be vector"


def choose_digits(
    array: ArrayConfig,
    head_dim: int,
    execution: Execution,
    key_digits: DigitCount | None = None,
    value_digits: DigitCount | None = None,
    rotate: bool | None = None,
    manifest: Manifest | None = None,
) -> KvDigits | None:
    """Digits of K and V on ``array``; None: its attention does not run on digits.

    What is None is as ``manifest`` says that perplexity was measured, else K in 4 digits and V in 3, q and k rotated.
    The attention of a run that says nothing is on the array where that can be.

    Raises:
        InputError: digits that were asked for, and an array or a choice of the run that they do not go with.
    """
    given = {"key_digits": key_digits, "value_digits": value_digits, "rotate": rotate}
    asked = [f"{name} {value}" for name, value in given.items() if value is not None]
    places = {execution.placement[name] for name in ATTENTION_PRODUCTS if name in execution.placement}
    elsewhere = places - {"array"} if places else {execution.attention} & {"vector"}
    if not array.arithmetic.stores_trits or elsewhere:
        if asked:
            why = f"attention on the {min(elsewhere)}" if elsewhere else f"the {array.mac} lanes of {array.name!r}"
            raise InputError(f"{asked[0].split()[0]} must be left out with {why}: K and V are kv_bits wide there")
        return None
    turns = hadamard_block(head_dim) > 1
    if rotate and not turns:
        raise InputError(
            f"rotate must be left out with heads of {head_dim}, an odd number: nothing of them can be turned"
        )
    key, value, turn = _measured(manifest) or (KEY_DIGITS, VALUE_DIGITS, turns)
    digits = KvDigits(
        key_digits=key_digits or key,
        value_digits=value_digits or value,
        rotate=turn if rotate is None else rotate,
        lanes=min(array.rows, array.cols),
    )
    if not (asked or places or execution.attention == "array") and _refusal(digits, array, head_dim):
        return None
    check_digits(digits, array, head_dim)
    return digits


def measured_in_digits(digits: KvDigits, manifest: Manifest) -> bool:
    """Whether the perplexities of ``manifest`` were measured over these digits of K and V."""
    return _measured(manifest) == (digits.key_digits, digits.value_digits, digits.rotate)


def _measured(manifest: Manifest | None) -> tuple[DigitCount, DigitCount, bool] | None:
    """Digits of K and V, and whether q and k were rotated, in the measured passes; None: there were none."""
    kept = manifest.kv if manifest else None
    if kept is None or kept.key_digits not in DIGIT_COUNTS or kept.value_digits not in DIGIT_COUNTS:
        return None
    return kept.key_digits, kept.value_digits, kept.rotate


def check_digits(digits: KvDigits, array: ArrayConfig, head_dim: int) -> None:
    """Refuse an array that cannot multiply K and V in ``digits``.

    Raises:
        InputError: with what it lacks, and the nearest that works.
    """
    if refusal := _refusal(digits, array, head_dim):
        raise InputError(refusal)


def _refusal(digits: KvDigits, array: ArrayConfig, head_dim: int) -> str | None:
    """What ``array`` lacks for ``digits``, in words; None: nothing."""
    most = max(digits.key_digits, digits.value_digits)
    if not (array.digits and array.lane_loading):
        lacking = " and ".join(name for name in ("digits", "lane_loading") if not getattr(array, name))
        return (
            f"attention on array {array.name!r}: {lacking} must be true, and planes at least {most} for K in "
            f"{digits.key_digits} and V in {digits.value_digits} digits (fields of the array), {_WAY_OUT}"
        )
    for name in ("key_digits", "value_digits"):
        count = getattr(digits, name)
        if count > array.planes:
            return (
                f"{name} must be at most {array.planes}, the planes of array {array.name!r} "
                f"(--array-fields planes={count}), not {count}; {_WAY_OUT}"
            )
    if head_dim > array.max_k_of(digits.key_digits, digits=True):
        fitting = [count for count in DIGIT_COUNTS if head_dim <= array.max_k_of(count, digits=True)]
        needed = array.arithmetic.sum_bits(head_dim * planes_weight(DIGIT_COUNTS[0], digits=True), array.max_exponent)
        nearest = (
            f"key_digits must be at most {fitting[-1]}" if fitting else f"accumulator_bits must be at least {needed}"
        )
        return (
            f"attention on array {array.name!r}: {nearest} for heads of {head_dim}, since accumulators of "
            f"{array.accumulator_bits} bits hold K = {array.max_k_of(digits.key_digits, digits=True)} in "
            f"{digits.key_digits} digits; {_WAY_OUT}"
        )
    return None
