"""Embedding and head by themselves: in ternary digits, trained beside a float body, stored and measured."""
