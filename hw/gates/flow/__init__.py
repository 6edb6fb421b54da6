"""From a Liberty file to area, timing and energy: mapping, static timing, event simulation, power."""
