"""An embedding or head table in balanced-ternary digits, as it is stored: packed planes, scales, the mean row.

``W[v, c] = rows[v] * spread[c] * codes[v, c] + mean[c]``. A digit is a plane of 5 trits per byte (``hw.trit``), the
highest first, worth ``3**(digits - 1)``, ..., 3, 1. NumPy alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hw.errors import InputError
from hw.trit import pack, packed_bytes, unpack

__all__ = ["MOST_TABLE_DIGITS", "StoredTable", "read_table"]

MOST_TABLE_DIGITS = 5
_ARRAYS = ("codes", "rows", "spread", "mean")


@dataclass(frozen=True)
class StoredTable:
    """Integers of a table and their constants.

    ``codes``: int8 (vocabulary, n) of ``digits`` balanced-ternary digits; ``rows``: float16 (vocabulary,); ``spread``
    and ``mean``: float16 (n,).

    Raises:
        InputError: a field of the wrong shape, dtype or value, named.
    """

    codes: np.ndarray
    digits: int
    rows: np.ndarray
    spread: np.ndarray
    mean: np.ndarray

    def __post_init__(self) -> None:
        """Validate every field."""
        if not 1 <= self.digits <= MOST_TABLE_DIGITS:
            raise InputError(f"table digits must be 1 to {MOST_TABLE_DIGITS}, not {self.digits}")
        if self.codes.dtype != np.int8 or self.codes.ndim != 2 or 0 in self.codes.shape:
            raise InputError(f"table codes must be int8 (vocabulary, n), not {self.codes.dtype} {self.codes.shape}")
        limit = (3**self.digits - 1) // 2
        if int(np.abs(self.codes.astype(np.int16)).max()) > limit:
            lowest, highest = int(self.codes.min()), int(self.codes.max())
            raise InputError(f"table codes must be in -{limit}..{limit}, not {lowest}..{highest}")
        vocabulary, n = self.codes.shape
        for name, value, size in (("rows", self.rows, vocabulary), ("spread", self.spread, n), ("mean", self.mean, n)):
            if value.dtype != np.float16 or value.shape != (size,) or not np.isfinite(value).all():
                raise InputError(f"table {name} must be finite float16 ({size},), not {value.dtype} {value.shape}")

    @property
    def bits(self) -> int:
        """Bits of what ``arrays`` stores, padding included."""
        return 8 * sum(array.nbytes for array in self.arrays().values())

    def dense(self) -> np.ndarray:
        """The table that is stood for, float32 (vocabulary, n)."""
        rows = self.rows.astype(np.float32)[:, None] * (self.codes * self.spread.astype(np.float32))
        return rows + self.mean.astype(np.float32)

    def arrays(self) -> dict[str, np.ndarray]:
        """Arrays to store by name: ``codes`` uint8 (digits, vocabulary, bytes of a row), and the others as they are."""
        rest, planes = self.codes.copy(), []
        for place in reversed(range(self.digits)):
            plane = np.rint(rest / np.float32(3**place)).clip(-1, 1).astype(np.int8)
            planes.append(pack(plane, "5in8"))
            rest -= plane * np.int8(3**place)
        return {"codes": np.stack(planes), "rows": self.rows, "spread": self.spread, "mean": self.mean}


def read_table(arrays: Mapping[str, np.ndarray], where: str) -> StoredTable:
    """The table that ``StoredTable.arrays`` gave, equal in every field; ``where``: what a refusal names.

    Raises:
        InputError: arrays that are missing, unknown, or of another type or shape than the others demand.
    """
    if unlike := sorted(set(_ARRAYS) ^ set(arrays)):
        raise InputError(f"{where}: arrays must be {', '.join(_ARRAYS)}; {unlike[0]!r} is missing or too many")
    packed, vocabulary, n = arrays["codes"], arrays["rows"].size, arrays["spread"].size
    if packed.dtype != np.uint8 or packed.shape[1:] != (vocabulary, packed_bytes(n, "5in8")) or not len(packed):
        raise InputError(
            f"{where}: array 'codes' must be uint8 (digits, {vocabulary}, {packed_bytes(n, '5in8')}), not "
            f"{packed.dtype} {packed.shape}: the file is damaged"
        )
    if len(packed) > MOST_TABLE_DIGITS:
        raise InputError(f"{where}: array 'codes' must hold at most {MOST_TABLE_DIGITS} digits, not {len(packed)}")
    codes = np.zeros((vocabulary, n), np.int8)
    try:
        for plane in packed:
            codes = 3 * codes + unpack(plane, n, "5in8")
        return StoredTable(codes, len(packed), arrays["rows"], arrays["spread"], arrays["mean"])
    except InputError as error:
        raise InputError(f"{where}: {error}; the file is damaged") from None
