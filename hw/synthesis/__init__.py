"""Yosys and place and route: FPGA families, resources and clocks of a core."""
