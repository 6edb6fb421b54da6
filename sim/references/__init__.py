"""Other simulators and published figures, against this simulator."""
