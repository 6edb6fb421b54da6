"""Cycles of a whole-token program, instruction by instruction, as the machine's own counters count them."""
