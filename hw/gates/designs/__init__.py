"""Circuits whose area and energy are measured in standard cells, with their golden values and stimuli."""
