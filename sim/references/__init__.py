"""Other simulators and published figures beside ours."""
