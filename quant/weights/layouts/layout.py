"""``Layout``: the contract of a way to store codes of ternary planes. Without torch, so that the simulator reads."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import torch

__all__ = ["Arrays", "Layout", "Part", "Planes"]

Arrays = Mapping[str, np.ndarray]  # stored arrays of one linear by name
Part = Literal["code", "mask"]  # of ``StoredBits``: what the bytes of an array count as


class Planes(NamedTuple):
    """Sizes of what is stored."""

    planes: int
    n: int
    k: int
    ordinary: int  # weights that are no outliers, of n * k
    widths: tuple[int, ...] = ()  # bits of the code in each column, where a layout takes them


class Layout(ABC):
    """How planes become arrays of bytes, and back."""

    parts: ClassVar[Mapping[str, Part]]  # every array that it stores
    planes: ClassVar[int | None] = None  # how many it stores; None: any number
    takes_side_data: ClassVar[bool] = True  # whether outliers and a low-rank correction may be stored beside the codes
    takes_widths: ClassVar[bool] = False  # whether columns have codes of different widths

    @abstractmethod
    def shapes(self, sizes: Planes) -> dict[str, tuple[int, ...]]:
        """Bytes of each array; the last axis is padded."""

    @abstractmethod
    def check(self, trits: "torch.Tensor", outliers: "torch.Tensor | None", widths: tuple[int, ...] = ()) -> None:
        """Refuse int8 planes (planes, n, k) that this layout cannot store; ``outliers``: mask (n, k), or None.

        ``widths``: bits of the code in each column, where the layout takes them.

        Raises:
            InputError: naming the layout and its rule.
        """

    @abstractmethod
    def store(self, trits: "torch.Tensor", widths: tuple[int, ...] = ()) -> dict[str, np.ndarray]:
        """The arrays of planes that passed ``check``."""

    @abstractmethod
    def read(self, sizes: Planes, arrays: Arrays, ordinary: np.ndarray | None) -> np.ndarray:
        """Planes int8 (planes, n, k); ``ordinary``: bool (n, k), or None where every weight is.

        Raises:
            InputError: arrays that are missing or of another size.
        """

    def bits(self, sizes: Planes) -> dict[Part, int]:
        """Stored bits of each part, padding included."""
        found: dict[Part, int] = {"code": 0, "mask": 0}
        for name, shape in self.shapes(sizes).items():
            found[self.parts[name]] += 8 * math.prod(shape)
        return found
