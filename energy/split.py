"""Why a rival takes more energy: fewer bits of weights, arithmetic, and the rest, told apart by simulation.

The rival runs once more with its weights stored in the ternary array's bits: what that saves is due to the bits, in
DRAM, bus, buffers and time. What array and vector unit still take more is arithmetic. The rest is what remains.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property

from energy.costs.sources import CostSource
from energy.model import EnergyResult, energy_of
from hw.arithmetics import Arithmetic
from hw.config import ArrayConfig
from hw.document import Record
from sim.result import SimResult

__all__ = ["Split", "narrow", "split_energy"]


class Split(Record):
    """Shares of a rival's energy in one phase that the ternary machine saves, by why; their sum is what it saves."""

    fewer_bits: float
    arithmetic: float
    rest: float


class _NarrowArray(ArrayConfig):
    """An array that multiplies as its ``mac`` says and whose stored weights have ``narrow_bits`` bits."""

    narrow_bits: float

    @cached_property
    def arithmetic(self) -> Arithmetic:  # type: ignore[override]
        """With narrower storage."""
        return replace(super().arithmetic, stored_bits=self.narrow_bits)

    @property
    def dense_array(self) -> ArrayConfig:
        """K, V and lm_head keep their own bits."""
        plain = {name: value for name, value in self.model_dump().items() if name != "narrow_bits"}
        return ArrayConfig(**plain).dense_array


def narrow(array: ArrayConfig, bits: float) -> ArrayConfig:
    """``array`` with weights of its linears stored in ``bits`` bits each, and nothing else changed."""
    return _NarrowArray(**array.model_dump(), narrow_bits=bits)


def split_energy(
    ternary: SimResult,
    rival: SimResult,
    costs: CostSource,
    simulate: Callable[[ArrayConfig], SimResult],
    planes: float,
    energies: tuple[EnergyResult, EnergyResult] | None = None,
) -> dict[str, Split]:
    """Phase -> why ``rival`` takes more energy per token than ``ternary``, typical costs.

    ``planes``: of the ternary weights, mean over all weights; ``energies``: of both runs, where they are known already.
    """
    bits = planes * ternary.array.weight_bits
    narrowed = rival if bits == rival.array.weight_bits else simulate(narrow(rival.array, bits))
    own, other = energies or (energy_of(ternary, costs), energy_of(rival, costs))
    between = other if narrowed is rival else energy_of(narrowed, costs)
    return {phase.name: _split(phase.name, own, other, between) for phase in rival.phases}


def _split(name: str, ternary: EnergyResult, rival: EnergyResult, narrowed: EnergyResult) -> Split:
    own, other, between = (energy.phase(name) for energy in (ternary, rival, narrowed))
    whole = other.total.typical
    bits = other.total.typical - between.total.typical
    arithmetic = between.compute.typical - own.compute.typical
    saved = other.total.typical - own.total.typical
    return Split(fewer_bits=bits / whole, arithmetic=arithmetic / whole, rest=(saved - bits - arithmetic) / whole)
