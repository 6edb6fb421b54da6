"""FPGA boards: tops with clock, reset and host link (UART, frames), constraints, build scripts, place and route."""
