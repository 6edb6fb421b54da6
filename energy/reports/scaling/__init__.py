"""What a sweep over sizes, bits and methods shows: its figures and its table."""
