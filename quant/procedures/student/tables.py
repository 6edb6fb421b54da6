"""Embedding and head of a student while they train: the model's own, float ones, or balanced-ternary digits.

A table in digits is ``W[v, c] = rows[v] * spread[c] * code[v, c] + mean[c]``. Its codes train through latent ones, in
units of codes, as those of the linears do (``quant.procedures.latent``): ``code = clip(round(u), -limit, limit)``.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hw.errors import InputError
from quant.llama.blocks import LoadedModel
from quant.methods.digits import fit_table
from quant.methods.method import ModelOptions, TableRoles
from quant.weights.stored_table import StoredTable

__all__ = ["DigitTable", "KeptTable", "TableWeight", "Tables", "digit_table", "student_tables", "tables_of"]

# Peak learning rates: of a float table relative to the latent weights' and to the root mean square of its entries; of
# a table's rows, spread and mean relative to its latent codes' and to their root mean squares, the mean's to that of
# the spread.
_FLOAT_RATE, _CONSTANT_RATE = 0.8, 0.25

_BEYOND = 0.5  # where a latent code starts at most: as far beyond the largest code as the edge of rounding is before it


class DigitTable(NamedTuple):
    """What trains instead of a table of ``digits`` digits.

    ``latent``: float32 (vocabulary, n) in units of codes; ``rows``: float32 (vocabulary, 1); ``spread``, ``mean``:
    float32 (n,); ``hardness``: 0-dim, in 0..1, how far a value stands on the way from its clamped latent code to its
    code, None = at the code.
    """

    latent: Tensor
    rows: Tensor
    spread: Tensor
    mean: Tensor
    digits: int
    hardness: Tensor | None = None

    def codes(self) -> Tensor:
        """Float codes (vocabulary, n), those that the latent ones round to."""
        limit = (3**self.digits - 1) // 2
        return self.latent.detach().round().clamp(-limit, limit)

    def dense(self) -> Tensor:
        """The table (vocabulary, n), differentiable in all that trains."""
        values, latent = self.codes(), self.latent.detach()
        if self.hardness is not None:
            limit = (3**self.digits - 1) // 2
            values = torch.lerp(latent.clamp(-limit, limit), values, self.hardness)
        values = values - latent + self.latent
        return self.rows * (values * self.spread) + self.mean

    def trained(self) -> list[Tensor]:
        """Every tensor that trains."""
        return [self.latent, self.rows, self.spread, self.mean]

    def stored(self) -> StoredTable:
        """The codes and what float16 leaves of the rest; a row or a channel that went negative turns its codes."""
        rows, spread, mean = (part.detach().half() for part in (self.rows[:, 0], self.spread, self.mean))
        codes = self.codes() * (rows.sign()[:, None] * spread.sign())
        parts = (part.cpu().numpy() for part in (rows.abs(), spread.abs(), mean))
        return StoredTable(codes.to(torch.int8).cpu().numpy(), self.digits, *parts)


class KeptTable(NamedTuple):
    """A float table (vocabulary, n) that does not train, stored because the other role no longer shares it."""

    weight: Tensor

    def dense(self) -> Tensor:
        """The table."""
        return self.weight

    def trained(self) -> list[Tensor]:
        """Nothing."""
        return []

    def stored(self) -> np.ndarray:
        """Rounded to float16."""
        return self.weight.half().cpu().numpy()


TableWeight = Tensor | DigitTable | KeptTable  # a tensor: a float table that trains


class Tables(NamedTuple):
    """Embedding and head, (vocabulary, hidden) each: one object where they are tied, None where the model's own is."""

    embedding: TableWeight | None
    head: TableWeight | None

    def dense(self, hardness: Tensor | None = None) -> tuple[Tensor | None, Tensor | None]:
        """Both as they are now, differentiable; digits as hard as ``hardness``, 0-dim, says."""
        values = {id(table): _dense(table, hardness) for table in self if table is not None}
        return values.get(id(self.embedding)), values.get(id(self.head))

    def named(self) -> dict[str, TableWeight]:
        """Each table once, by its name in a checkpoint: the embedding's where it is both."""
        found = {"embed_tokens": self.embedding, "lm_head": None if self.head is self.embedding else self.head}
        return {name: table for name, table in found.items() if table is not None}

    def trained(self) -> list[Tensor]:
        """Every tensor that trains, once."""
        return [one for table in self.named().values() for one in _trained(table)]

    def groups(self, rate: float, table_rate: float) -> list[dict[str, object]]:
        """Parameter groups of an optimizer; peak learning ``rate`` of the linears' latent weights, ``table_rate`` of
        latent codes of digits.
        """
        found: list[dict[str, object]] = []
        for table in self.named().values():
            if isinstance(table, Tensor):
                found.append({"params": [table], "lr": rate * _FLOAT_RATE * _root_mean_square(table)})
            if not isinstance(table, DigitTable):
                continue
            constant, spread = table_rate * _CONSTANT_RATE, _root_mean_square(table.spread)
            found += [
                {"params": [table.latent], "lr": table_rate},
                {"params": [table.rows], "lr": constant * _root_mean_square(table.rows)},
                {"params": [table.spread], "lr": constant * spread},
                {"params": [table.mean], "lr": constant * spread},
            ]
        return found

    def copied(self) -> "Tables":
        """The same in memory of its own, shared where these are."""
        copies = {id(table): _copied(table) for table in self if table is not None}
        return Tables(copies.get(id(self.embedding)), copies.get(id(self.head)))

    def stored(self) -> Mapping[str, np.ndarray | StoredTable]:
        """What a checkpoint holds of them: digits as they are, float tables as float16."""
        return {
            name: table.half().cpu().numpy() if isinstance(table, Tensor) else table.stored()
            for name, table in self.named().items()
        }


def digit_table(weight: Tensor, digits: int) -> DigitTable:
    """Where the training of a real table (vocabulary, n) starts: rounded, its steps fitted to the weights alone."""
    fit = fit_table(weight.detach(), digits)
    rows, spread, mean = (part.half().float() for part in (fit.steps, fit.spread, fit.mean))
    limit = (3**digits - 1) // 2 + _BEYOND
    scaled = (weight.detach().float() - mean) / spread
    latent = scaled / torch.where(rows > 0, rows, torch.inf)[:, None]
    return DigitTable(latent.clamp(-limit, limit), rows[:, None], spread, mean, digits)


def student_tables(loaded: LoadedModel, options: ModelOptions) -> Tables | None:
    """Embedding and head that a student of these options starts with; None: the model's own.

    Raises:
        InputError: a model that scales what it looks up.
    """
    trained = options.tables == "trained" and options.distill_steps > 0
    if not trained and not options.table_digits:
        return None
    if "embedding" in loaded.shape.scaled:
        option = "table_digits must be 0" if options.table_digits else "tables must be 'kept'"
        raise InputError(
            f"model {loaded.shape.name!r}: option {option}, since the model scales its embedding; leave the option out"
        )
    return tables_of(loaded, options.table_digits, options.table_roles, trained)


def tables_of(loaded: LoadedModel, digits: int, roles: TableRoles, trained: bool) -> Tables:
    """The model's tables as they start: ``roles`` in ``digits`` digits, if any, and float ones where they train."""
    embedding, head = loaded.model.model.embed_tokens.weight, loaded.model.lm_head.weight

    def start(weight: Tensor, in_digits: bool) -> TableWeight | None:
        if in_digits:
            return digit_table(weight, digits)
        return weight.detach().float().clone() if trained else None

    in_digits = [digits > 0 and roles in ("both", role) for role in ("embedding", "head")]
    first, tied = start(embedding, in_digits[0]), head is embedding
    if tied and in_digits[0] == in_digits[1]:
        return Tables(first, first)
    second = start(head, in_digits[1])
    return Tables(first, KeptTable(head.detach().float()) if tied and second is None else second)


def _dense(table: TableWeight, hardness: Tensor | None) -> Tensor:
    if isinstance(table, Tensor):
        return table
    return table._replace(hardness=hardness).dense() if isinstance(table, DigitTable) else table.dense()


def _copied(table: TableWeight) -> TableWeight:
    if isinstance(table, Tensor):
        return table.detach().clone()
    return type(table)(*(part.detach().clone() if isinstance(part, Tensor) else part for part in table))


def _trained(table: TableWeight) -> list[Tensor]:
    return [table] if isinstance(table, Tensor) else table.trained()


def _root_mean_square(table: Tensor) -> float:
    return table.detach().float().square().mean().sqrt().item()
