"""Instructions of the whole-token machine: fields, operations, encoding, decoding, and the program in words.

An instruction is 256 bits. A field has one place; fields that share bits never belong to one operation. Bits that an
operation does not use must be 0: anything else is refused, by ``decode`` and by the gateware alike.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hw.errors import InputError, did_you_mean

__all__ = [
    "ELEMENTS",
    "FIELDS",
    "INDICES",
    "OPERATIONS",
    "WIDTHS",
    "Field",
    "Instruction",
    "Operation",
    "decode",
    "disassembled",
    "encode",
    "instruction_tables",
    "used_bits",
]

ELEMENTS = ("int8", "int16", "uint16", "int32")  # numbers in memory, by code: LOAD widens them to 32 bits
INDICES = ("none", "token", "position", "block")  # registers that a memory address may grow with, by code
WIDTHS = (17, 24, 32)  # bits that a result saturates at, by code


class Field(NamedTuple):
    """Bits ``low`` to ``low + bits - 1``."""

    low: int
    bits: int
    what: str
    signed: bool = False


FIELDS: dict[str, Field] = {
    "operation": Field(0, 5, "code of the operation"),
    "last_only": Field(5, 1, "only where the next token is wanted, not inside a prompt"),
    "index": Field(6, 2, f"register that the address grows with: {', '.join(INDICES)}"),
    "address": Field(8, 28, "of memory, in memory words"),
    "stride": Field(36, 24, "memory words per unit of the indexing register; KV: per column tile of K, per plane of V"),
    "epsilon": Field(8, 48, "EPS of a norm"),
    "source": Field(60, 16, "scratch word where the first operand begins"),
    "second": Field(76, 16, "scratch word where the second operand begins"),
    "scales": Field(76, 28, "memory word where the stored scales of K or V begin"),
    "destination": Field(92, 16, "scratch word where the result begins"),
    "identity": Field(92, 20, "token id of the first row of the table"),
    "words": Field(108, 16, "scratch words of a row's vector"),
    "rows": Field(124, 8, "rows: vectors that are worked on in turn, or that meet every weight tile"),
    "pitch": Field(132, 16, "words from one row to the next: of scratch; of stored scales (KV)"),
    "row_scale": Field(132, 16, "scratch word whose first number is the stored scale of the token's row"),
    "activation": Field(148, 12, "word of the activation buffer where the int8 vectors begin"),
    "by_block": Field(160, 1, "sizes along the tokens are those of the block of the context that is worked on"),
    "planes": Field(161, 3, "digits, a plane of trits each"),
    "by_lanes": Field(164, 1, "tiles come lane by lane, in a burst per column tile and plane; KV: V, not K"),
    "n": Field(165, 16, "outputs"),
    "k": Field(181, 16, "inputs"),
    "first": Field(197, 12, "constant of the first shift", signed=True),
    "shift": Field(209, 12, "constant of the second shift", signed=True),
    "burst": Field(36, 24, "memory words of the weights"),
    "packed": Field(224, 1, "weights lie five trits a byte, tile behind tile, not in words of 2-bit trits"),
    "width": Field(221, 2, f"bits of the result: {', '.join(map(str, WIDTHS))}"),
    "add": Field(223, 1, "add to what is there; ARGMAX: go on from the best logit so far"),
    "limit": Field(165, 14, "largest magnitude of a quantized number"),
    "inverse_mantissa": Field(179, 16, "mantissa of 1 / limit"),
    "inverse_exponent": Field(195, 10, "its exponent", signed=True),
    "factor_mantissa": Field(205, 16, "mantissa of a constant that the scale is multiplied with; 0: not"),
    "factor_exponent": Field(221, 10, "its exponent", signed=True),
    "split": Field(231, 1, "quantized numbers go out as two int8 rows, 128 high + low"),
    "weights": Field(232, 1, "the scale goes to the registers of the weights of V, not of the token or query"),
    "jump": Field(232, 24, "memory words from one head to the next (KV), from one burst to the next (by_lanes)"),
    "element": Field(165, 2, f"numbers in memory: {', '.join(ELEMENTS)}"),
    "pick": Field(167, 1, "the token's number alone out of a list of 16 bits each, into lane 0"),
    "beats": Field(36, 24, "beats of a column tile of the table: planes x folds x beats of a tile"),
    "skip": Field(165, 16, "beats of a column tile that lie in front of the digit plane's"),
}


class Operation(NamedTuple):
    """``code`` 1 and up, the fields that it reads, and what it does."""

    code: int
    fields: tuple[str, ...]
    what: str


_GEMM = ("address", "activation", "planes", "n", "k", "rows")
_STATIC = ("burst", "packed")  # weights of a linear or of the table
_GROWING = ("index", "stride", "by_lanes", "by_block")  # K and V
_QUANT = ("limit", "inverse_mantissa", "inverse_exponent", "factor_mantissa", "factor_exponent")
_VECTOR = ("source", "second", "destination", "words")

_DEFINED: dict[str, tuple[tuple[str, ...], str]] = {
    "STOP": ((), "end of the token: the position grows by one"),
    "END": (("address",), "go on with the next block of the context at that instruction, or behind the last block"),
    "LOAD": (("address", "index", "stride", "destination", "words", "element", "by_block", "pick"),
             "memory to scratch"),
    "EMB": ((*_VECTOR, "row_scale", "first", "shift"), "the table's integers times row scale and channel spread"),
    "NORM": ((*_VECTOR, "activation", "epsilon", *_QUANT, "split"), "RMSNorm of the source by gains, quantized"),
    "QUANT": (("source", "words", "rows", "pitch", "activation", *_QUANT, "by_block", "weights"), "rows to int8"),
    "KV": (("address", "stride", "jump", "scales", "source", "words", "rows", "pitch", "planes", "by_lanes", *_QUANT),
           "rows to digits of K or V and their stored scales, in memory at the position"),
    "ROPE": ((*_VECTOR, "rows"), "pairs of every row turned by cosines and sines"),
    "WHT": (("source", "words", "rows"), "Walsh-Hadamard transform of every row in place"),
    "EXP": ((*_VECTOR, "rows", "pitch", "first", "by_block"), "powers of scores, times the stored scales of V"),
    "ONORM": (("source", "destination", "words", "rows", "pitch", "first", "shift"), "outputs over their totals"),
    "GLU": ((*_VECTOR, "shift"), "gate times sigmoid of gate times up"),
    "ADD": (_VECTOR, "two vectors added"),
    "DEQ": ((*_GEMM, *_STATIC, "second", "destination", "first", "shift", "width", "add"),
            "a GEMM, its sums times two scales"),
    "SCORE": ((*_GEMM, *_GROWING, "second", "destination", "pitch", "first", "shift"),
              "a GEMM of queries and K: scores"),
    "OACC": ((*_GEMM, *_GROWING, "jump", "destination", "pitch", "first"),
             "a GEMM of weights and V, added to the outputs so far"),
    "ARGMAX": ((*_GEMM, *_STATIC, "second", "identity", "first", "add"),
               "a GEMM of two rows with the table: the largest logit"),
    "ROW": (("address", "beats", "skip", "destination", "words", "packed"),
            "a digit plane of the token's row, out of the table's weight tiles, to scratch"),
}  # fmt: skip

OPERATIONS: dict[str, Operation] = {
    name: Operation(code, ("last_only", *fields), what)
    for code, (name, (fields, what)) in enumerate(_DEFINED.items(), start=1)
}
_BY_CODE = {operation.code: name for name, operation in OPERATIONS.items()}
_WORDS = {"element": ELEMENTS, "index": INDICES, "width": WIDTHS}


class Instruction(NamedTuple):
    """An operation and the values of its fields; a field that is left out is 0."""

    operation: str
    values: Mapping[str, int]

    def __getitem__(self, field: str | int) -> int:  # type: ignore[override]
        """A field's value."""
        return self.values.get(str(field), 0)

    def begin(self, lanes: int, token: int, position: int, block: int) -> int:
        """The memory word that it begins at, on a machine of so many vector lanes with these registers."""
        if self["pick"]:
            return self["address"] + self["stride"] * (token // (2 * lanes))
        index = {"none": 0, "token": token, "position": position, "block": block}
        return self["address"] + self["stride"] * index[INDICES[self["index"]]]


def used_bits(name: str) -> int:
    """Mask of the bits that an operation may set."""
    mask = 0
    for field in ("operation", *OPERATIONS[name].fields):
        mask |= (1 << FIELDS[field].bits) - 1 << FIELDS[field].low
    return mask


def encode(instruction: Instruction) -> int:
    """The 256 bits of an instruction.

    Raises:
        InputError: an unknown operation or field, or a value that its field does not hold.
    """
    name = instruction.operation
    if name not in OPERATIONS:
        raise InputError(
            f"operation must be one of {', '.join(OPERATIONS)}, not {name!r}{did_you_mean(name, OPERATIONS)}"
        )
    word = OPERATIONS[name].code
    for field, value in instruction.values.items():
        if field not in OPERATIONS[name].fields:
            raise InputError(f"{name} has no field {field!r}; its fields are {', '.join(OPERATIONS[name].fields)}")
        low, bits, _, signed = FIELDS[field]
        least, most = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
        if not least <= value <= most:
            raise InputError(f"{name}: {field} must be {least} to {most} ({bits} bits), not {value}")
        word |= (int(value) & (1 << bits) - 1) << low
    return word


def decode(word: int) -> Instruction:
    """The instruction that 256 bits stand for.

    Raises:
        InputError: an unknown operation, or bits set that it does not use.
    """
    code = word & (1 << FIELDS["operation"].bits) - 1
    if code not in _BY_CODE:
        raise InputError(f"operation code must be 1 to {len(OPERATIONS)}, not {code}")
    name = _BY_CODE[code]
    if strange := word & ~used_bits(name):
        place = (strange & -strange).bit_length() - 1
        raise InputError(f"{name} does not use bit {place}: it must be 0; the program is damaged or of another version")
    values = {}
    for field in OPERATIONS[name].fields:
        low, bits, _, signed = FIELDS[field]
        value = word >> low & (1 << bits) - 1
        if value:
            values[field] = value - (1 << bits) if signed and value >> bits - 1 else value
    return Instruction(name, values)


def disassembled(instruction: Instruction) -> str:
    """An instruction as one line of words: the operation and every field that is not 0."""
    shown = []
    for field in OPERATIONS[instruction.operation].fields:
        value = instruction[field]
        if field in _WORDS:
            value_text = str(_WORDS[field][value])
            if field != "index" or value:
                shown.append(f"{field}={value_text}")
        elif FIELDS[field].bits == 1:
            shown += [field] if value else []
        elif value:
            shown.append(f"{field}={value}")
    return f"{instruction.operation:<6} {' '.join(shown)}".rstrip()


def instruction_tables() -> list[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    """Headings and rows of the documentation's tables: operations, then fields."""
    operations = [
        (str(operation.code), name, operation.what, ", ".join(operation.fields[1:]) or "none")
        for name, operation in OPERATIONS.items()
    ]
    return [
        (("code", "operation", "what it does", "fields, beside last_only"), operations),
        (("bits", "field", "what it holds"), list(_field_rows(FIELDS.items()))),
    ]


def _field_rows(fields: Iterable[tuple[str, Field]]) -> Iterable[tuple[str, str, str]]:
    for name, (low, bits, what, signed) in fields:
        place = f"{low}" if bits == 1 else f"{low}-{low + bits - 1}"
        yield place, name, what + (", signed" if signed else "")
