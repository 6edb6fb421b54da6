"""Registers behind a value, the one home of them: one edge later, or several, or in copies for what lies far apart."""

from amaranth import Module, Mux, Shape, Signal, Value
from amaranth.lib.data import View

from hw.division import ceil_divide

__all__ = [
    "BITS_PER_COPY",
    "COLUMNS_PER_COPY",
    "COPY",
    "cleared",
    "copies",
    "copy_names",
    "delayed",
    "groups_of",
    "registered",
]

COLUMNS_PER_COPY = 8  # columns that one copy of a register feeds: a net to more of them is longer than an addition
BITS_PER_COPY = 144  # of a word that one flag lets be taken, four block RAMs of an ECP5: the same
COPY = "_copy"  # in the names of copies, which synthesis would merge: see hw.synthesis.yosys.KEEP_COPIES


def registered(
    m: Module,
    value: Value | View,
    name: str,
    *,
    shape: Shape | int | None = None,
    enable: Value | None = None,
    reset_less: bool = False,
) -> Value | View:
    """``value`` one edge later, in a register called ``name``.

    ``shape``: of the register, that of ``value`` unless given; ``enable``: the register keeps its value while it is 0;
    ``reset_less``: for data that nothing reads before they are written.
    """
    register = Signal(value.shape() if shape is None else shape, name=name, reset_less=reset_less)
    if enable is None:
        m.d.sync += register.eq(value)
    else:
        with m.If(enable):
            m.d.sync += register.eq(value)
    return register


def delayed(m: Module, value: Value | View, edges: int, name: str, reset_less: bool = False) -> Value | View:
    """``value`` as it was ``edges`` edges before, through registers ``name`` 0, 1, ...; 0 edges: ``value`` itself."""
    for stage in range(edges):
        value = registered(m, value, f"{name}{stage}", reset_less=reset_less)
    return value


def cleared(m: Module, value: Value, clear: Value, name: str) -> Value:
    """``value`` one edge later, in a register ``name``; 0 where ``clear`` was 1, by the flip-flop's own reset."""
    return registered(m, Mux(clear, 0, value), name, shape=value.shape(), reset_less=True)


def groups_of(columns: int) -> int:
    """Groups of ``COLUMNS_PER_COPY`` columns, the last one perhaps smaller."""
    return ceil_divide(columns, COLUMNS_PER_COPY)


def copy_names(name: str, number: int) -> list[str]:
    """Names of ``number`` copies of a register, which synthesis does not merge; one is called ``name`` alone."""
    return [name] if number == 1 else [f"{name}{COPY}{copy}" for copy in range(number)]


def copies(m: Module, value: Value | View, name: str, number: int, *, reset_less: bool = True) -> list[Value | View]:
    """``value`` one edge later in ``number`` registers that synthesis does not merge; one is called ``name`` alone.

    No reset clears them unless asked for, which is one more net to where they lie.
    """
    return [registered(m, value, each, reset_less=reset_less) for each in copy_names(name, number)]
