"""Circuits of one column: lane, adders, carry cells, compressors; they know no ``ArrayConfig``."""
