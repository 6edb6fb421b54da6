"""Registers one behind the other."""

from amaranth import Module, Signal, Value
from amaranth.lib.data import View

__all__ = ["delayed"]


def delayed(m: Module, value: Value | View, edges: int, name: str, reset_less: bool = False) -> Value | View:
    """``value`` as it was ``edges`` edges before, through registers ``name`` 0, 1, ...; 0 edges: ``value`` itself."""
    for stage in range(edges):
        register = Signal(value.shape(), name=f"{name}{stage}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value
