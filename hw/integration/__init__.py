"""Where people integrate: the AXI top as a cocotb bench, a FuseSoC core, a LiteX module, a Vivado IP."""
