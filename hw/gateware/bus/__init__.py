"""The core behind a bus: AXI4-Stream for operands and results, AXI4-Lite for control and status registers."""
