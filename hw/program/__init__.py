"""Whole-token programs: the machine they are for, instructions, memory image, compiler and interpreter; NumPy alone."""
