"""``Manifest``: what a quantized model is: method, true bits, zero fractions, hashes; readable without torch."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from hw.artifact import read_artifact, sha256_file, write_artifact
from hw.division import ceil_divide
from hw.document import Record, record_of
from hw.pages import with_options
from hw.trit import Packing
from quant.kv.formats import FLOAT_BITS, KvFormat
from quant.shapes import ModelShape

__all__ = [
    "COLLAPSED",
    "OUTLIER_BITS",
    "LinearEntry",
    "Manifest",
    "TableEntry",
    "collapse",
    "collapse_warning",
    "is_of_manifest",
    "older_options",
    "read_manifest",
    "trits_of",
    "write_manifest",
]

_SCHEMA, _VERSION = "tritforge.manifest", 1
OUTLIER_BITS = 8  # of a weight, and of its row's zero point, see quant.weights.side_data.Outliers
_KEPT_BITS = 16  # of a parameter that is not quantized, in a file of the whole model
COLLAPSED = 2.0  # perplexity of the quantized model over the unquantized one's, from which it is not to be used
_REMEDY = "quantize again: make quant MODEL=..."
_ADDED = {"pt-bitnet": ("follow", "relative")}  # method -> options it has got since rows were kept; 0: as before


Size = Annotated[int, Field(ge=1, lt=1 << 31)]
Count = Annotated[int, Field(ge=0, lt=1 << 63)]


class LinearEntry(Record):
    """One quantized decoder linear. Bits are of what is stored, padding included."""

    layer: Count
    kind: str  # one of quant.shapes.LINEAR_KINDS
    n: Size
    k: Size
    planes: Size = 1  # ternary planes summed
    plane_columns: tuple[Size, ...] = ()  # columns that each plane runs over; none: all
    group: Size | None  # columns per scale group; None = one scale per row
    scale_kind: str  # "row", "pow2" or "group" (DESIGN section 9), or "tensor"
    outliers: Count = 0  # weights kept at 8 bits: products beside the array
    rank: Count = 0  # of the low-rank correction: float products beside the array
    zero_fraction: Annotated[float, Field(ge=0, le=1)]  # of all trits that the planes run over
    code_bits: Count
    scale_bits: Count
    offset_bits: Count = 0  # of offsets per group, and of the zero points of outliers
    mask_bits: Count = 0
    permutation_bits: Count = 0
    low_rank_bits: Count = 0
    bias_bits: Count = 0  # of constants per output, added where the scale is applied

    @property
    def bits(self) -> int:
        """Everything that is stored for this linear."""
        beside = self.offset_bits + self.mask_bits + self.permutation_bits + self.low_rank_bits
        return self.code_bits + self.scale_bits + self.bias_bits + beside

    @property
    def side_bits(self) -> int:
        """Of ``bits``, the non-ternary weights: low-rank factors, outliers and the bitmap that says where they are."""
        return self.low_rank_bits + (OUTLIER_BITS * self.outliers + self.mask_bits if self.outliers else 0)

    @property
    def trits(self) -> int:
        """Ternary weights that the planes run over."""
        return self.n * (sum(self.plane_columns) or self.k * self.planes)

    @property
    def groups(self) -> int:
        """Scale groups per row."""
        return ceil_divide(self.k, self.group) if self.group else 1

    @property
    def has_offsets(self) -> bool:
        """Whether groups have offsets: the hardware needs the sum of their activations."""
        return self.offset_bits > (OUTLIER_BITS * self.n if self.outliers else 0)


class TableEntry(Record):
    """One stored table of embedding, head or both. Bits are of what is stored, padding included."""

    name: str  # embed_tokens or lm_head
    roles: tuple[Literal["embedding", "head"], ...]
    digits: Annotated[int, Field(ge=1)] | None  # balanced-ternary digits of an entry; None = float16
    bits: Count


class Manifest(Record):
    """A quantized model: how it was made, what it stores, how well it does."""

    model: str
    source: str = ""  # the model as the job named it: a name, a path or a hub id
    shape: ModelShape
    method: str
    options: dict[str, float | int | str | bool]
    packing: Packing
    linears: Annotated[list[LinearEntry], Field(min_length=1)]
    tables: list[TableEntry] = []  # those stored; the others are the model's own
    weights_sha256: str  # of ternary.safetensors
    source_sha256: str  # of the checkpoint that was quantized
    calibration: str  # name of the calibration text
    evaluation: str = ""  # name of the text of the perplexities
    recorded_tokens: Count = 64  # that the job asked for; a short text has fewer
    kv: KvFormat | None = None  # of K and V in the recorded pass and the perplexities that say so; None: float
    kv_cosine: dict[str, float] = {}  # of heads' outputs to those of float attention; keys: "mean", "min" over heads
    perplexity: dict[str, float] = {}  # keys: "fp", "fp_a8", "a16", "a8"; with kv also "fp_kv", "a8_kv" (both A8)
    more_perplexity: dict[str, dict[str, float]] = {}  # of further texts by name, the same keys
    last_word_text: str = ""  # name of the prose of the accuracies
    budget: dict[str, float] = {}  # of a job of so many minutes: "minutes", and seconds measured (quant.budget.plan)
    last_word: dict[str, float] = {}  # share of last words predicted; keys: "fp_a8", "a8"

    @property
    def true_bits(self) -> float:
        """Stored bits per quantized weight: codes, scales, offsets, masks, permutations and low-rank factors."""
        return sum(entry.bits for entry in self.linears) / sum(entry.n * entry.k for entry in self.linears)

    @property
    def whole_bits(self) -> float:
        """Stored bits per parameter of the whole file: the linears, embedding and head, and all else at 16 bits.

        A table that is embedding and head counts once.
        """
        shape, own = self.shape, 1 if self.shape.tie_embeddings else 2
        stored = {role for entry in self.tables for role in entry.roles}
        kept = 2 - len(stored) if own == 2 or stored else 1
        tables = sum(entry.bits for entry in self.tables) + kept * _KEPT_BITS * shape.embedding_parameters
        rest = shape.total_parameters - shape.linear_parameters - own * shape.embedding_parameters
        return (sum(entry.bits for entry in self.linears) + tables + _KEPT_BITS * rest) / shape.total_parameters

    def digits_of(self, role: Literal["embedding", "head"]) -> int | None:
        """Balanced-ternary digits of an entry of embedding or head; None: float."""
        return next((entry.digits for entry in self.tables if role in entry.roles), None)

    @property
    def kv_bits(self) -> float:
        """Stored bits of an element of K and V, scales included, at the model's longest context."""
        if self.kv is None:
            return float(FLOAT_BITS)
        return self.kv.bits_per_element(self.shape.head_dim, self.shape.max_positions)

    @property
    def group_sizes(self) -> list[int | None]:
        """Distinct columns per scale group, in the order of the linears; None = one scale per row."""
        return list(dict.fromkeys(entry.group for entry in self.linears))

    @property
    def zero_fraction(self) -> float:
        """Share of zero trits over all planes of all linears."""
        weights = [entry.trits for entry in self.linears]
        zeros = sum(entry.zero_fraction * count for entry, count in zip(self.linears, weights, strict=True))
        return zeros / sum(weights)


def collapse(perplexity: Mapping[str, float]) -> float | None:
    """How many times the unquantized model's perplexity the quantized one has, where that is a collapse.

    With int8 activations; of a run where they were not measured, with float ones.
    """
    for after, before in (("a8", "fp_a8"), ("a16", "fp")):
        if after in perplexity and before in perplexity:
            times = perplexity[after] / perplexity[before]
            return times if times >= COLLAPSED else None
    return None


def collapse_warning(method: str, perplexity: Mapping[str, float]) -> str | None:
    """That weights of this method are not to be used, and the way out; None where they may be."""
    if (times := collapse(perplexity)) is None:
        return None
    return (
        f"these weights are not to be used: the model's perplexity is {times:.3g} times that before {method}; train "
        "them (--minutes 15 on a CPU, --method pt-bitnet-full --device cuda on a GPU), or choose another method "
        "(tritforge compare --methods all)"
    )


def older_options(rows: Iterable[tuple[str, str, Mapping[str, object]]]) -> list[str]:
    """A line for each method with rows that do without options it has got since; a row: model, method and options.

    Options are all of the method's: one that is not among them was not there yet, which is as if it were 0.
    """
    models: dict[str, set[str]] = {}
    for model, method, options in rows:
        if method in _ADDED and not any(options.get(name) for name in _ADDED[method]):
            models.setdefault(method, set()).add(model)
    return [
        f"`{method}` on {', '.join(sorted(names))} is what `{' '.join(f'{name}=0' for name in _ADDED[method])}` gives, "
        "not today's defaults (quantization.md)"
        for method, names in models.items()
    ]


def trits_of(model: str, method: str, options: Mapping[str, object]) -> str:
    """Whose trits a row is of, in words."""
    return f"{model}, {with_options(method, options)}"


def is_of_manifest(checkpoint: Path, manifest: Manifest) -> bool:
    """Whether a ``ternary.safetensors`` holds, bit for bit, what the manifest was written for."""
    return checkpoint.is_file() and sha256_file(checkpoint) == manifest.weights_sha256


def write_manifest(path: Path, manifest: Manifest) -> None:
    """Write ``manifest.json``; the derived figures are written beside the fields for readers of the file."""
    body = manifest.model_dump() | {
        "derived": {
            "true_bits": manifest.true_bits,
            "whole_bits": manifest.whole_bits,
            "zero_fraction": manifest.zero_fraction,
            "kv_bits": manifest.kv_bits,
        }
    }
    inputs = {"weights": manifest.weights_sha256, "source": manifest.source_sha256}
    write_artifact(path, _SCHEMA, _VERSION, body, inputs, sealed=True)


def read_manifest(path: Path) -> Manifest:
    """Read ``manifest.json``, also one that names group and scale kind once for all linears.

    Raises:
        InputError: missing, damaged, or of another version.
    """
    document = read_artifact(path, _SCHEMA, _VERSION, _REMEDY)
    once = {name: document[name] for name in ("group", "scale_kind") if name in document}
    if once and isinstance(linears := document.get("linears"), list):
        document["linears"] = [once | entry if isinstance(entry, dict) else entry for entry in linears]
    return record_of(document, Manifest, path, _REMEDY)
