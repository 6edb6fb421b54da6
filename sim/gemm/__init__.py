"""Cycles and costs of one matrix product: closed form, schedule, counts."""
