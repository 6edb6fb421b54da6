"""Ternary x int8 array: packing, configuration, golden model, gateware, Verilog and boards."""
