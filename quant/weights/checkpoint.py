"""``ternary.safetensors``: the packed linears of a quantized model and its retrained norms; read with NumPy alone.

Tensors are named ``layers.<layer>.<kind>.<array>`` with the arrays of ``quant.weights.storage``, ``norms.<name>``,
``biases.<layer>.<kind>`` where outputs have constants, and ``tables.<name>`` where embedding and head were retrained
too, float16, or ``tables.<name>.<array>`` with the arrays of ``quant.weights.stored_table`` where they are in digits.
The file's one metadata entry holds the ``LinearHeader`` of every linear.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from hw.artifact import atomic_path
from hw.document import validate_document
from hw.errors import InputError
from quant.manifest import LinearEntry
from quant.weights.layouts.registry import LAYOUTS
from quant.weights.storage import (
    LinearHeader,
    load_linear,
    read_covered,
    read_low_rank,
    read_offsets,
    read_permutation,
    read_scales,
    read_trits,
    store_linear,
)
from quant.weights.stored_arrays import check_arrays
from quant.weights.stored_table import StoredTable, read_table

if TYPE_CHECKING:
    from quant.weights.solution import LinearSolution

__all__ = ["Checkpoint", "TernaryLinear", "join_checkpoints", "write_checkpoint"]

_KEY = "tritforge.ternary.1"
_REMEDY = "quantize again: make quant MODEL=..."

# What the bytes of each stored array count as in the manifest.
_PART_OF_ARRAY = {name: part for layout in LAYOUTS.values() for name, part in layout.parts.items()} | {
    "outlier_codes": "code",
    "scales": "scale",
    "exponents": "scale",
    "outlier_scale": "scale",
    "offsets": "offset",
    "zeros": "offset",
    "outlier_zero": "offset",
    "outlier_mask": "mask",
    "permutation": "permutation",
    "partition": "permutation",
    "widths": "mask",
    "low_rank_left": "low_rank",
    "low_rank_right": "low_rank",
}


class TernaryLinear(NamedTuple):
    """The integers and scales of one linear, as the hardware and the simulator take them.

    ``trits``: int8 (planes, n, k); ``scales``: float32 (planes, n, groups), tied planes multiplied out; ``group``:
    columns per scale group, k where one spans the row; ``offsets``: float32 (n, groups) or None; ``permutation``: input
    of each column, int64 (k,), or None for columns in the order of the inputs; ``low_rank``: factors of the correction,
    float32 (n, r) and (r, k), inputs in their own order, or None; ``covered``: columns that each plane runs over, bool
    (planes, k), the others hold zeros, or None where every plane runs over all. Outliers kept at 8 bits are not here.
    """

    trits: np.ndarray
    scales: np.ndarray
    group: int
    offsets: np.ndarray | None
    permutation: np.ndarray | None
    low_rank: tuple[np.ndarray, np.ndarray] | None
    covered: np.ndarray | None = None

    def streamed(self) -> list[tuple[slice | np.ndarray, np.ndarray]]:
        """What streams at once: stored columns, and the trits there, int8 (planes, n, columns).

        All planes over all columns, or one plane after another, each over the columns that it covers.
        """
        if self.covered is None or self.covered.all():
            return [(slice(None), self.trits)]
        planes = zip(self.covered, self.trits, strict=True)
        return [(inputs, plane[None][..., inputs]) for inputs, plane in planes]

    def columns(self, q: np.ndarray) -> np.ndarray:
        """Activations ``(..., k)`` in the order of the stored columns."""
        return q if self.permutation is None else q[..., self.permutation]

    def correction(self, q: np.ndarray) -> np.ndarray | None:
        """What the correction adds, float32 ``(..., n)``, or None; ``q``: ``(..., k)`` in the order of the inputs."""
        if self.low_rank is None:
            return None
        left, right = self.low_rank
        return (q.astype(np.float32) @ right.T) @ left.T


class Checkpoint:
    """An open ``ternary.safetensors``; each linear is read when asked for."""

    def __init__(self, path: Path) -> None:
        """Read the headers.

        Raises:
            InputError: missing, truncated, or not such a file.
        """
        self.path = Path(path)
        try:
            self._file = safe_open(self.path, framework="numpy")
            text = (self._file.metadata() or {})[_KEY]
            headers = {name: validate_document(fields, LinearHeader, name) for name, fields in json.loads(text).items()}
        except FileNotFoundError:
            raise InputError(f"{self.path}: no such file; {_REMEDY}") from None
        except (SafetensorError, OSError, KeyError, ValueError, AttributeError, RecursionError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{self.path}: must be a whole ternary checkpoint ({reason}); {_REMEDY}") from None
        self.headers: dict[tuple[int, str], LinearHeader] = {
            self._place(name): header for name, header in headers.items()
        }
        self._arrays: dict[str, list[str]] = {}
        for tensor in self._file.keys():  # noqa: SIM118 (safe_open is no mapping)
            prefix, _, array = tensor.rpartition(".")
            self._arrays.setdefault(prefix, []).append(array)

    def __iter__(self) -> Iterator[tuple[int, str]]:
        """``(layer, kind)`` of every linear, in the order of a forward pass."""
        return iter(self.headers)

    def linear(self, layer: int, kind: str) -> TernaryLinear:
        """Trits and scales of one linear.

        Raises:
            InputError: no such linear, or damaged codes.
        """
        header, arrays = self._stored(layer, kind)
        scales = read_scales(header, arrays).astype(np.float32)
        if header.ratios is not None:
            scales = scales * np.array(header.ratios, dtype=np.float32)[:, None, None]
        low_rank = read_low_rank(header, arrays)
        return TernaryLinear(
            trits=read_trits(header, arrays),
            scales=scales,
            group=header.group or header.k,
            offsets=read_offsets(header, arrays),
            permutation=read_permutation(header, arrays),
            low_rank=None if low_rank is None else tuple(factor.astype(np.float32) for factor in low_rank),
            covered=read_covered(header, arrays),
        )

    def solution(self, layer: int, kind: str) -> "LinearSolution":
        """The solver's result, equal in every field; this imports torch."""
        return load_linear(*self._stored(layer, kind))

    def norms(self) -> dict[str, np.ndarray]:
        """Gains that replace the model's own, float32 by name; empty where the norms were not retrained."""
        return self._beside("norms.")

    def biases(self) -> dict[tuple[int, str], np.ndarray]:
        """Constants added to a linear's outputs beside its own bias, float16 ``(n,)``; none where no method made any.

        Raises:
            InputError: constants of no linear, or not one for each of its outputs.
        """
        found = {}
        for name, value in self._beside("biases.").items():
            place = self._place(f"layers.{name}")
            shape = (self.headers[place].n,) if place in self.headers else None
            if value.dtype != np.float16 or value.shape != shape or not np.isfinite(value).all():
                raise InputError(
                    f"{self.path}: array 'biases.{name}' must be finite float16 {shape or 'of a linear of the file'}, "
                    f"not {value.dtype} {value.shape}: the file is damaged"
                )
            found[place] = value
        return found

    def tables(self) -> dict[str, np.ndarray | StoredTable]:
        """Embedding (``embed_tokens``) and untied head (``lm_head``) in the model's place; those kept are not there.

        float16, or in digits. A tied model whose embedding alone is here has it for its head too.

        Raises:
            InputError: a table in digits whose arrays do not fit each other.
        """
        arrays: dict[str, dict[str, np.ndarray]] = {}
        for name, value in self._beside("tables.").items():
            table, _, part = name.partition(".")
            arrays.setdefault(table, {})[part] = value
        return {
            name: parts[""] if parts.keys() == {""} else read_table(parts, f"{self.path}: tables.{name}")
            for name, parts in arrays.items()
        }

    def entries(self) -> list[LinearEntry]:
        """The manifest's line of every linear, its bits counted from the stored arrays."""
        biases = self.biases()
        return [self._entry(layer, kind, biases.get((layer, kind))) for layer, kind in self]

    def tensors(self) -> dict[str, np.ndarray]:
        """Every stored array by its name in the file."""
        return {name: self._read(name) for name in self._file.keys()}  # noqa: SIM118 (safe_open is no mapping)

    def _beside(self, start: str) -> dict[str, np.ndarray]:
        names = [f"{prefix}.{array}" for prefix, arrays in self._arrays.items() for array in arrays]
        return {name.removeprefix(start): self._read(name) for name in names if name.startswith(start)}

    def _entry(self, layer: int, kind: str, bias: np.ndarray | None) -> LinearEntry:
        header, arrays = self._stored(layer, kind)
        bits = dict.fromkeys(_PART_OF_ARRAY.values(), 0)
        for name, array in arrays.items():
            bits[_PART_OF_ARRAY[name]] += 8 * array.nbytes
        trits, low_rank = read_trits(header, arrays), read_low_rank(header, arrays)
        covered = read_covered(header, arrays)
        issued = trits.size if covered is None else header.n * int(covered.sum())
        return LinearEntry(
            layer=layer,
            kind=kind,
            n=header.n,
            k=header.k,
            planes=header.planes,
            group=header.group,
            scale_kind=header.scale_kind,
            outliers=arrays["outlier_codes"].size if "outlier_codes" in arrays else 0,
            rank=0 if low_rank is None else low_rank[0].shape[-1],
            bias_bits=0 if bias is None else 8 * bias.nbytes,
            zero_fraction=1.0 - np.count_nonzero(trits) / issued,
            plane_columns=() if covered is None or covered.all() else tuple(covered.sum(axis=1).tolist()),
            **{f"{part}_bits": count for part, count in bits.items()},
        )

    def _stored(self, layer: int, kind: str) -> tuple[LinearHeader, dict[str, np.ndarray]]:
        if (layer, kind) not in self.headers:
            raise InputError(f"{self.path}: holds no linear {kind!r} of layer {layer}")
        prefix = f"layers.{layer}.{kind}"
        header = self.headers[layer, kind]
        arrays = {name: self._read(f"{prefix}.{name}") for name in self._arrays.get(prefix, ())}
        check_arrays(header, arrays, f"{self.path}: {prefix}")
        return header, arrays

    def _place(self, name: str) -> tuple[int, str]:
        """Layer and kind of ``layers.<layer>.<kind>``."""
        match name.split("."):
            case ["layers", layer, kind] if layer.isdecimal() and layer.isascii() and len(layer) < 10:
                return int(layer), kind
        raise InputError(f"{self.path}: linear must be named layers.<layer>.<kind>, not {name!r}; {_REMEDY}")

    def _read(self, name: str) -> np.ndarray:
        try:
            return self._file.get_tensor(name)
        except (SafetensorError, TypeError, AttributeError) as error:  # a damaged file, or a type that NumPy lacks
            raise InputError(f"{self.path}: tensor {name!r} cannot be read ({error}); {_REMEDY}") from None


def write_checkpoint(
    path: Path,
    solutions: Mapping[tuple[int, str], "LinearSolution"],
    norms: Mapping[str, np.ndarray] | None = None,
    biases: Mapping[tuple[int, str], np.ndarray] | None = None,
) -> None:
    """Write ``ternary.safetensors``, whole or not at all; equal solutions give equal bytes.

    ``solutions``: by ``(layer, kind)``; ``norms``: retrained gains, float32 by name; ``biases``: constants of outputs,
    float16 by ``(layer, kind)``.
    """
    tensors = {
        f"biases.{layer}.{kind}": np.asarray(value, np.float16) for (layer, kind), value in (biases or {}).items()
    }
    headers = {}
    for (layer, kind), solution in solutions.items():
        header, arrays = store_linear(solution)
        headers[layer, kind] = header
        tensors |= {f"layers.{layer}.{kind}.{name}": np.ascontiguousarray(array) for name, array in arrays.items()}
    _write(path, tensors, headers, norms or {})


def join_checkpoints(
    path: Path,
    parts: Sequence[Path],
    norms: Mapping[str, np.ndarray] | None = None,
    tables: Mapping[str, np.ndarray | StoredTable] | None = None,
) -> None:
    """Write the linears of ``parts``, ``norms`` and ``tables``, float16 or in digits by name, as one checkpoint."""
    tensors, headers = {}, {}
    for part in map(Checkpoint, parts):
        tensors |= part.tensors()
        headers |= part.headers
    for name, table in (tables or {}).items():
        if isinstance(table, StoredTable):
            tensors |= {f"tables.{name}.{part}": array for part, array in table.arrays().items()}
        else:
            tensors[f"tables.{name}"] = np.asarray(table, dtype=np.float16)
    _write(path, tensors, headers, norms or {})


def _write(
    path: Path,
    tensors: dict[str, np.ndarray],
    headers: Mapping[tuple[int, str], LinearHeader],
    norms: Mapping[str, np.ndarray],
) -> None:
    tensors = {f"norms.{name}": np.asarray(value, dtype=np.float32) for name, value in norms.items()} | tensors
    stored = {f"layers.{layer}.{kind}": header.model_dump() for (layer, kind), header in headers.items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={_KEY: json.dumps(stored)})
