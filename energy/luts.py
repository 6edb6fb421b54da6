"""Area on an FPGA: look-up tables, flip-flops, DSPs and block RAMs of a machine by part, low / typical / high."""

from energy.costs.fpga import Elements, load_fpga
from energy.costs.tables import ZERO, Cost
from hw.config import ArrayConfig
from hw.document import Record
from sim.cores import ONE_CORE, CoreGroup

__all__ = ["LUT_PARTS", "LutArea", "luts_of"]

LUT_PARTS = ("array", "accumulators", "vector", "sram", "sequencing")


class LutArea(Record):
    """What one machine takes of a family of FPGAs."""

    family: str
    inputs: int  # of a look-up table
    part: str  # the smallest that holds it, or the largest of all
    fits: bool
    parts: dict[str, dict[str, Cost]]  # keys of LUT_PARTS -> tables, flip_flops, dsps, block_rams

    def total(self, what: str) -> Cost:
        """Of all parts."""
        return sum((part[what] for part in self.parts.values()), ZERO)


def luts_of(array: ArrayConfig, family: str, cores: CoreGroup = ONE_CORE) -> LutArea:
    """``cores`` of ``array`` and their two shared buffers on ``family``.

    Raises:
        InputError: an unknown family.
    """
    source = load_fpga(family)
    parts = {name: elements.scaled(cores.count) for name, elements in source.core(array).items()}
    parts["sram"] = source.buffers(array)
    name, _, fits = source.part_for(array, cores.count)
    named = {part: dict(zip(Elements._fields, parts[part], strict=True)) for part in LUT_PARTS}
    return LutArea(family=family, inputs=source.table.inputs, part=name, fits=fits, parts=named)
