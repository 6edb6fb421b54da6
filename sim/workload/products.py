"""``Workload``: matrix products that no model stands behind, and where they were read."""

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, ClassVar

from pydantic import Field

from hw.artifact import sha256_json
from hw.document import Record, validate_document
from hw.errors import InputError, did_you_mean
from quant.shapes import MOST, Gemm

__all__ = ["Product", "Workload", "known_fields", "workload_of"]

_MOST_PRODUCTS = 10_000  # each is an op of the run, with a row of its own in results

Positive = Annotated[int, Field(ge=1, le=MOST)]


class Product(Record):
    """``count`` products ``y[m, n] = sum_k x[m, k] * w[n, k]`` that follow each other, each with weights of its own."""

    name: str
    m: Positive
    n: Positive
    k: Positive
    count: Positive = 1

    @property
    def gemm(self) -> Gemm:
        """One of them."""
        return Gemm(self.m, self.n, self.k)


class Workload(Record):
    """Products in order; it takes a model's place in traces and results, whose questions to a shape it answers."""

    name: str
    source: str  # where they were read
    products: Annotated[tuple[Product, ...], Field(min_length=1, max_length=_MOST_PRODUCTS)]
    left_out: tuple[str, ...] = ()  # layers of the file that are no matrix products

    layers: ClassVar[int] = 1  # the list is passed once
    experts: ClassVar[None] = None
    embedding_parameters: ClassVar[int] = 0
    router_parameters: ClassVar[int] = 0

    @property
    def linear_parameters(self) -> int:
        """Weights of all products."""
        return sum(one.count * one.n * one.k for one in self.products)

    @property
    def total_parameters(self) -> int:
        """The same: there are no others."""
        return self.linear_parameters

    @property
    def sha256(self) -> str:
        """Hash of the products, not of the name or the source."""
        return sha256_json(self.model_dump(include={"products"}, mode="json"))


def workload_of(
    name: str, source: str, products: Iterable[tuple[str, dict[str, Any]]], left_out: Iterable[str] = ()
) -> Workload:
    """A workload of ``products``, each with where it stands in ``source``; names that come again get a number.

    Raises:
        InputError: a size that cannot be, by line or layer; no product at all, or too many.
    """
    checked: list[Product] = []
    seen: dict[str, int] = {}
    for where, fields in products:
        seen[fields["name"]] = number = seen.get(fields["name"], 0) + 1
        numbered = fields | ({"name": f"{fields['name']} #{number}"} if number > 1 else {})
        checked.append(validate_document(numbered, Product, f"{source}, {where}"))
        if len(checked) > _MOST_PRODUCTS:
            raise InputError(f"{source}: must have at most {_MOST_PRODUCTS} products, and has more; split the file")
    if not checked:
        raise InputError(f"{source}: must hold at least one matrix product, and holds none")
    return Workload(name=name, source=source, products=tuple(checked), left_out=tuple(left_out))


def known_fields(where: str, value: object, known: tuple[str, ...]) -> Mapping[str, Any]:
    """``value`` as a mapping that has none but ``known`` fields.

    Raises:
        InputError: no mapping, or the first unknown field, with what is known.
    """
    if not isinstance(value, Mapping):
        raise InputError(f"{where}: must be a mapping of fields, not {value!r}")
    for field in value:
        if field not in known:
            meant = did_you_mean(str(field), known)
            raise InputError(f"{where}: unknown field {field!r}{meant}; known fields: {', '.join(known)}")
    return value
