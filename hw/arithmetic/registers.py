"""Registers behind a value, the one home of them: one edge later, or several."""

from amaranth import Module, Shape, Signal, Value
from amaranth.lib.data import View

__all__ = ["delayed", "registered"]


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
