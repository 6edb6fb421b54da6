"""Formats of K and V in the cache: how they are spelled, what they ask of a head, and the bits that they store.

    digits:4/3,rotate       K in 4 and V in 3 balanced-ternary digits, one scale per token and head; q in int8 and
                            probabilities in 8 bits, as the array multiplies them; q and k turned by Walsh-Hadamard;
                            levels=127 for probabilities on lanes that are signed
    int8                    the same arithmetic with 8-bit K and V
    wkvquant:4,group=64     b bits, asymmetric, a scale and a minimum per group of a token's channels; the newest token
                            stays in full precision while it is attended to
    kivi:2,group=32,residual=128
                            b bits, asymmetric: K per channel over groups of tokens, V per token over groups of
                            channels; the newest tokens stay in full precision
    float                   no quantization

Ref: ``hw.golden.quantize_digits``. Yue et al., WKVQuant, arXiv 2402.12065: its past-only quantization and the dynamic
part of its two-dimensional quantization; the static part is learned and not here. Liu et al., KIVI, arXiv 2402.02750,
algorithm 1, when K and V are quantized as in the official code (jy-yuan/KIVI 04eeae0, models/llama_kivi.py).
"""

from typing import Annotated, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from hw.document import Record
from hw.errors import InputError, did_you_mean
from hw.formats import INT8_LIMIT
from hw.golden import digit_limit, hadamard_block
from hw.token.formats import check_accumulator
from hw.trit import packed_bytes

__all__ = ["FLOAT_BITS", "KvFormat", "checked_format", "parse_kv"]

FLOAT_BITS = 16  # of an element that is not quantized
_SCALE_BITS = 16  # of every scale, and of every minimum of an asymmetric group
_SHORTEST_TRANSFORM = 2  # of a head whose size is odd, nothing is left to turn

Position = TypeVar("Position")
Digits = Annotated[int, Field(ge=1, le=5)]
Count = Annotated[int, Field(ge=1)]
Levels = Annotated[int, Field(ge=1, le=255)]
Scheme = Literal["digits", "int8", "wkvquant", "kivi"]

_DEFAULTS: dict[str, dict[str, object]] = {
    "digits": {"levels": 255},
    "int8": {"levels": 255},
    "wkvquant": {"bits": 4, "past_only": True},
    "kivi": {"bits": 2, "group": 32, "residual": 128},
}
_OPTIONS: dict[str, tuple[str, ...]] = {  # of each scheme; the first are what may follow the colon
    "digits": ("key_digits", "value_digits", "rotate", "past_only", "levels"),
    "int8": ("rotate", "past_only", "levels"),
    "wkvquant": ("bits", "group", "past_only"),
    "kivi": ("bits", "group", "residual"),
}
_SWITCHES = ("rotate", "past_only")
_EXAMPLES = "digits:4/3,rotate, int8, wkvquant:4, kivi:2 or float"


class KvFormat(Record):
    """How K and V are kept. Options of another scheme are None (switches: off)."""

    scheme: Scheme
    key_digits: Digits | None = None  # balanced-ternary digits of an element of K
    value_digits: Digits | None = None
    rotate: bool = False  # q and k turned by the Walsh-Hadamard transform of a head
    bits: Annotated[int, Field(ge=2, le=8)] | None = None  # of an asymmetric element
    group: Count | None = None  # channels per scale; of KIVI's K, tokens. None: a head
    residual: Count | None = None  # newest tokens that KIVI keeps in full precision
    past_only: bool = False  # a token's own K and V are in full precision while it attends
    levels: Levels | None = None  # of a row's largest probability: 255 of unsigned 8 bits, 127 of int8 lanes

    @model_validator(mode="before")
    @classmethod
    def _with_defaults(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("scheme") not in _DEFAULTS:
            return given
        found = {name: value for name, value in given.items() if value is not None}
        return _DEFAULTS[found["scheme"]] | found

    @model_validator(mode="after")
    def _of_its_scheme(self) -> "KvFormat":
        own = _OPTIONS[self.scheme]
        for name in type(self).model_fields:
            if name not in ("scheme", *own) and getattr(self, name):
                raise ValueError(f"{self.scheme} has no option {_word(name)}, but {', '.join(map(_word, own))}")
        if self.scheme == "digits" and not (self.key_digits and self.value_digits):
            raise ValueError("digits must be given for K and V, such as digits:4 or digits:4/3")
        if self.residual and self.group and self.residual % self.group:
            raise ValueError(
                f"residual must be a multiple of the group of {self.group} tokens, not {self.residual}: K is quantized "
                "a whole residual at a time"
            )
        return self

    @property
    def spelled(self) -> str:
        """What ``parse_kv`` reads as this format; options that are the scheme's defaults are left out."""
        first, own = "", {name: getattr(self, name) for name in _OPTIONS[self.scheme]}
        if self.scheme == "digits":
            key, value = own.pop("key_digits"), own.pop("value_digits")
            first = f":{key}" if key == value else f":{key}/{value}"
        elif self.bits:
            first = f":{own.pop('bits')}"
        parts = [self.scheme + first]
        for name, value in own.items():
            if value != _DEFAULTS[self.scheme].get(name, False if name in _SWITCHES else None):
                shown = "" if value is True else "=0" if value is False else f"={value}"
                parts.append(_word(name) + shown)
        return ",".join(parts)

    @property
    def limits(self) -> tuple[int, int] | None:
        """The largest integers of K and V where attention is in integers (q int8, probabilities 8 bits), else None."""
        if self.scheme == "digits":
            return digit_limit(self.key_digits), digit_limit(self.value_digits)
        return (INT8_LIMIT, INT8_LIMIT) if self.scheme == "int8" else None

    def check(self, head_dim: int) -> None:
        """Refuse a head that this format does not fit.

        Raises:
            InputError: the head's size, and what would fit.
        """
        what = f"K and V as {self.spelled}"
        if self.rotate and hadamard_block(head_dim) < _SHORTEST_TRANSFORM:
            raise InputError(f"{what}: head size must be even to be rotated, not {head_dim}; leave out rotate")
        if self.scheme == "digits":
            check_accumulator(head_dim, self.key_digits, f"{what}, scores of heads of {head_dim}")
        group = self.group or head_dim
        if self.bits and head_dim % group:
            fitting = [size for size in range(1, head_dim + 1) if head_dim % size == 0]
            raise InputError(
                f"{what}: group must divide the head size {head_dim}, not {group}; one of "
                f"{', '.join(map(str, fitting))} does"
            )

    def bits_per_element(self, head_dim: int, tokens: int) -> float:
        """Stored bits of an element of K and V on average, scales included.

        What counts is the cache as the last of ``tokens`` tokens finds it. Digits are stored in planes of
        whole bytes, five trits each, as the array loads them.
        """
        if self.scheme == "digits":
            plane = 8 * packed_bytes(head_dim, "5in8") / head_dim
            return plane * (self.key_digits + self.value_digits) / 2 + _SCALE_BITS / head_dim
        if self.scheme == "int8":
            return 8 + _SCALE_BITS / head_dim
        quantized = self.bits + 2 * _SCALE_BITS / (self.group or head_dim)
        past = tokens - 1
        if self.scheme == "wkvquant" or not past:
            return quantized if past else float(FLOAT_BITS)
        counts = (self.keys_quantized(past), self.values_quantized(past))
        return sum(n * quantized + (past - n) * FLOAT_BITS for n in counts) / (2 * past)

    def keys_quantized(self, position: Position) -> Position:
        """How many tokens' K the query at ``position`` finds quantized: the first ones; also of arrays."""
        if self.residual:
            return position // self.residual * self.residual
        return position + (not self.past_only)

    def values_quantized(self, position: Position) -> Position:
        """The same of V."""
        if self.residual:
            return (position > self.residual) * (position - self.residual)
        return position + (not self.past_only)


def parse_kv(text: str) -> KvFormat | None:
    """The format that a person spelled; None for ``float``.

    Raises:
        ValueError: no such scheme or option, or a value that is not allowed, in one line.
    """
    scheme, _, rest = text.strip().partition(":")
    if "," in scheme:  # options without anything after the scheme
        scheme, _, rest = text.strip().partition(",")
        rest = f",{rest}"
    if scheme == "float" and not rest:
        return None
    if scheme not in _DEFAULTS:
        meant = did_you_mean(scheme, (*_DEFAULTS, "float"))
        raise ValueError(f"KV format must be such as {_EXAMPLES}, not {text!r}{meant}")
    first, *options = rest.split(",")
    fields: dict[str, object] = {"scheme": scheme}
    if first:
        fields |= _first(scheme, first, text)
    for option in options:
        word, equals, value = option.partition("=")
        name = word.replace("-", "_")
        if name not in _OPTIONS[scheme] or name.endswith("digits"):
            known = [_word(one) for one in _OPTIONS[scheme] if not one.endswith("digits")]
            raise ValueError(f"KV format {text!r}: {scheme} has no option {word!r}; its options: {', '.join(known)}")
        if name in fields:
            raise ValueError(f"KV format {text!r}: {word} is given twice")
        fields[name] = _switch(value, text) if name in _SWITCHES and equals else True if not equals else value
        if name not in _SWITCHES and not equals:
            raise ValueError(f"KV format {text!r}: {word} needs a value, such as {word}=32")
    return checked_format(fields, f"KV format {text!r}")


def checked_format(fields: dict[str, object], what: str) -> KvFormat:
    """A format of these fields.

    Raises:
        ValueError: the first faulty one, in one line that begins with ``what``.
    """
    try:
        return KvFormat.model_validate(fields)
    except ValidationError as error:
        fault = error.errors(include_url=False)[0]
        message = fault["msg"].removeprefix("Value error, ").removeprefix("Input ")
        name = _word(str(fault["loc"][-1])) if fault["loc"] else ""
        shown = f"{name} {message}, not {fault['input']!r}" if name else message
        raise ValueError(f"{what}: {shown}") from None


def _first(scheme: str, first: str, text: str) -> dict[str, object]:
    """What stands right after the colon: digits of K and V, or bits."""
    if scheme == "digits":
        key, slash, value = first.partition("/")
        return {"key_digits": key, "value_digits": value if slash else key}
    if "bits" not in _OPTIONS[scheme]:
        raise ValueError(f"KV format {text!r}: {scheme} has one width; write {scheme}")
    return {"bits": first}


def _switch(value: str, text: str) -> bool:
    if value not in ("0", "1"):
        raise ValueError(f"KV format {text!r}: a switch must be 1 or 0, not {value!r}")
    return value == "1"


def _word(name: str) -> str:
    return name.replace("_", "-")
