"""``Organisation``: how the lanes of an array are wired, and everything that follows from it.

Gateware, simulator and energy model ask these objects instead of comparing names. A new organisation is a subclass with
an entry in ``ORGANISATIONS`` and its name in ``OrganisationName``; its gateware is named by module and found when asked
for, so that importing this file imports no Amaranth.
"""

from abc import ABC, abstractmethod
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any, ClassVar, Literal

if TYPE_CHECKING:
    from hw.config import ArrayConfig

__all__ = ["ORGANISATIONS", "Organisation", "OrganisationName"]

OrganisationName = Literal["tree", "systolic"]

_SYSTOLIC_STAGES = 4  # edges to the first result beside the skew of the columns


class Organisation(ABC):
    """What every organisation must say about itself.

    ``outputs_stationary``: the dataflow, which is the cycle model. False: weights rest in the lanes, an issue is one
    token's lanes of a fold, and a column's total joins its token's partial sum in an accumulator buffer. True: each
    element keeps the sum of one output in a register of its own, an issue is one position of K of ``rows`` tokens,
    and the last issue of a column tile releases ``rows`` results.

    ``has_options``: its gateware has planes, power-of-two scales, sums of activations and a requantizer.

    ``counts_negatives``: the -1 trits of a column are counted as its tile loads, to complete its negations at once.

    ``gate_design``: the design of ``hw.gates`` whose energy per multiply-accumulate is that of this organisation.

    ``datapath``, ``bare_array``, ``diagram``: ``module:name`` of the function that builds what stands between weight
    tiles and results, of the component that is measured as the array alone, and of the row of its block diagram.
    """

    name: ClassVar[OrganisationName]
    outputs_stationary: ClassVar[bool]
    has_options: ClassVar[bool]
    counts_negatives: ClassVar[bool]
    gate_design: ClassVar[Literal["lane", "tree"]]
    datapath: ClassVar[str]
    bare_array: ClassVar[str]
    diagram: ClassVar[str]

    def refusal(self, array: "ArrayConfig") -> str | None:
        """What forbids the fields of ``array``, in words that say what they must be; None: nothing does."""
        return None

    def fixed_fields(self, rows: int) -> dict[str, int]:
        """Fields of ``ArrayConfig`` that follow from the number of rows."""
        return {}

    @abstractmethod
    def pipeline_latency(self, array: "ArrayConfig") -> int:
        """Edges from the one that accepts an activation vector to the first that can transfer its result."""

    @abstractmethod
    def results_at_once(self, array: "ArrayConfig") -> int:
        """Most results that one issue releases."""

    @abstractmethod
    def label(self, chain_lanes: int) -> str:
        """A few words for tables."""

    @abstractmethod
    def file_label(self, chain_lanes: int) -> str:
        """The same as part of a file's name."""

    def gateware(self, part: Literal["datapath", "bare_array", "diagram"]) -> Any:
        """The object that ``part`` names; this imports Amaranth."""
        return resolve_name(getattr(self, part))


class Tree(Organisation):
    """Weight-stationary columns: chains of lanes, an adder tree, and one accumulator per column."""

    name = "tree"
    outputs_stationary = False
    has_options = True
    counts_negatives = True
    gate_design = "tree"
    datapath = "hw.gateware.tree:connect_tree"
    bare_array = "hw.synthesis.resources:Accumulated"
    diagram = "hw.simulation.block_diagram:tree_row"

    def pipeline_latency(self, array: "ArrayConfig") -> int:
        """The registers to the accumulator, one for it and the result queue, the requantizer's, and the transfer."""
        return array.total_stages + 1 + array.requantizer_stages + 1

    def results_at_once(self, array: "ArrayConfig") -> int:
        """A vector of a last fold makes the results of one token."""
        return 1

    def label(self, chain_lanes: int) -> str:
        """With the length of its chains."""
        return f"tree, chains of {chain_lanes}"

    def file_label(self, chain_lanes: int) -> str:
        """With the length of its chains."""
        return f"chain{chain_lanes}"


class Systolic(Organisation):
    """An output-stationary grid: tokens enter by rows, trits by columns, each element accumulates one output."""

    name = "systolic"
    outputs_stationary = True
    has_options = False
    counts_negatives = False  # elements add a negation's missing 1 themselves
    gate_design = "lane"  # an element is a lane with an accumulator of its own
    datapath = "hw.gateware.grid:connect_grid"
    bare_array = "hw.gateware.grid:Grid"
    diagram = "hw.simulation.block_diagram:grid_row"

    def fixed_fields(self, rows: int) -> dict[str, int]:
        """A token per row, and no chains."""
        return {"token_tile": rows, "chain_lanes": 1}

    def refusal(self, array: "ArrayConfig") -> str | None:
        """Tiles of other sizes than the grid, and registers on the way to columns that pass on what they get."""
        if array.spread_stages:
            return f"spread_stages must be 0 where organisation is {self.name}, not {array.spread_stages}"
        if (array.token_tile, array.chain_lanes) == (array.rows, 1):
            return None
        return (
            f"token_tile must be rows = {array.rows} and chain_lanes 1 where organisation is {self.name}, "
            f"not {array.token_tile} and {array.chain_lanes}"
        )

    def pipeline_latency(self, array: "ArrayConfig") -> int:
        """From the last position of K, through vector register, skew, accumulator, readout and queue."""
        return array.cols + _SYSTOLIC_STAGES

    def results_at_once(self, array: "ArrayConfig") -> int:
        """The last issue of a column tile completes all its tokens."""
        return array.rows

    def label(self, chain_lanes: int) -> str:
        """There is one kind."""
        return "grid"

    def file_label(self, chain_lanes: int) -> str:
        """There is one kind."""
        return "grid"


ORGANISATIONS: dict[OrganisationName, Organisation] = {one.name: one for one in (Tree(), Systolic())}
